"""Target networks: how they follow, and whether they act."""

from typing import Any

import torch
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.typing import StateDict


def follow(module: Any, tau: float) -> None:
    """Soft update of the target networks."""
    with torch.no_grad():
        for main, target in module.get_target_network_pairs():
            torch._foreach_lerp_(list(target.parameters()), list(main.parameters()), tau)


def acts_with_target_network(module: RLModule) -> bool:
    """Whether the module's target network decides; runners' modules have none of their own."""
    wanted = module.model_config.get("act_with") == "target"
    return wanted and hasattr(module, "_target_encoder")


def acting_weights(module: RLModule) -> StateDict:
    """Weights for a module that only acts: of the network that decides."""
    weights = module.get_state(inference_only=True)
    if not acts_with_target_network(module):
        return weights
    whole = module.get_state()
    return {name: whole[f"_target_{name}"] for name in weights}
