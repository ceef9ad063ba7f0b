"""The words and contracts every package shares: instruments, intervals, tables, wire formats, bundles, settings."""
