"""What a run tells while it goes on: on the terminal, in files, and to trackers."""
