"""The command line over everything: it starts the platform's processes, runs the main job, and reads what it left."""
