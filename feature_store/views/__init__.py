"""The feature views, one file per idea."""
