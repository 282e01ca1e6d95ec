"""Reinforcement learning that pays for its own training, on Ray RLlib.

Importing this package registers the environment `MecScheduling-v0` with Gymnasium and, as soon as
Ray Tune's registry is imported, with RLlib. Nothing else happens, and Ray is not imported.
"""

from mec_rllib.envs.registration import ENV_ID, register_everywhere

__version__ = "0.1.0"
__all__ = ["ENV_ID"]

register_everywhere()
