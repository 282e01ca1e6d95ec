"""`python -m mec_rllib`."""

from mec_rllib.cli import main

main()
