"""The folder of an experiment read back: tables, claims, pictures."""
