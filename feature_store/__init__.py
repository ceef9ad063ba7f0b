"""Features: defined once as compiled updates, scanned by batch, called bar by bar by live."""
