"""The platform's processes, one file each: how it is started, when it is ready, where it listens."""
