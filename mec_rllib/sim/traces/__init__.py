"""Recordings: read from files, or made, and played as a workload."""
