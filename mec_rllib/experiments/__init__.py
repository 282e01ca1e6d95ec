"""Experiments: config, runs through Ray Tune, files, statistics and reports."""
