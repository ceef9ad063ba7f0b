"""Batch work, one command per file; each may be run twice, at once, or after a kill and leaves the same content."""
