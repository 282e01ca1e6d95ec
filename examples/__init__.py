"""Environments, gates and programs that use mec_rllib as its users do."""
