"""Hyper-parameter search through Ray Tune."""
