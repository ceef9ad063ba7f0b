"""Wire formats: a venue's payload in, typed rows out. Shared by ingestion, live and replay."""
