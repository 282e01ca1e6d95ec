"""Learning on RLlib's new API stack under a training gate.

The loop lies here: runners, algorithm, the seam to the gating callback. `dqn` and `actor_critic`
hold what belongs to one algorithm, `replay` where experience waits.

    from mec_rllib.rl import GatedDQNConfig

    algorithm = GatedDQNConfig().environment("MecScheduling-v0").gating("ats").build_algo()
"""

import importlib
from typing import Any

# Looked up when they are asked for: the modules of the loop, which are below them, lie in here.
_CONFIGS = {
    "GatedDQNConfig": "mec_rllib.rl.dqn.algorithm",
    "GatedSACConfig": "mec_rllib.rl.actor_critic.algorithms",
    "GatedPPOConfig": "mec_rllib.rl.actor_critic.algorithms",
}


def __getattr__(name: str) -> Any:
    if name not in _CONFIGS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_CONFIGS[name]), name)
