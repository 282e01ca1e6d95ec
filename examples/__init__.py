"""Environments that know nothing of mec_rllib, for docs/generality.md."""
