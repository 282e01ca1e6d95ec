"""The one place that knows every network: its name in a policy file, and what it acts with.

A network of ours says itself what it acts with (`acting_function()`), which learner trains it
(`learner_class`) and which replay keeps its experience (`replay_class`). RLlib's own cannot say.
"""

from collections.abc import Callable
from typing import Any, Protocol

from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.rl_module.apis import QNetAPI
from ray.rllib.core.rl_module.rl_module import RLModule

from mec_rllib.envs.observation import Observations
from mec_rllib.rl.actor_critic.modules import ActorCritic, GatedSACModule
from mec_rllib.rl.dqn.afterstates import AfterstateModule
from mec_rllib.rl.dqn.bootstrapped import BootstrappedModule
from mec_rllib.rl.dqn.noisy import NoisyModule
from mec_rllib.rl.dqn.q_function import QFunction
from mec_rllib.sim.jobs import Bools, Ints

# Modules that a policy file may ask for; no other class is ever built from one.
MODULES: dict[str, type[RLModule]] = {
    "dqn": DefaultDQNTorchRLModule,
    "afterstate": AfterstateModule,
    "bootstrapped": BootstrappedModule,
    "noisy": NoisyModule,
    "sac": GatedSACModule,
    "ppo": DefaultPPOTorchRLModule,
}


class ActingFunction(Protocol):
    """What a runner and the trained policy act with: ratings of the actions, and values."""

    def __call__(self, obs: Observations) -> Observations:
        """(B, F) observations to (B, A + x) ratings: those of the actions, then what it likes."""
        ...

    def values(self, ratings: Observations, mask: Bools) -> Any:
        """(B,) what the states are worth; psi is made of it."""
        ...

    def values_taken(self, ratings: Observations, actions: Ints) -> Any:
        """(B,) what the actions taken are worth; TD errors are made of it."""
        ...


# What modules act with that do not say it themselves: RLlib's, and a user's Q-network.
STOCK: dict[type, Callable[[Any], ActingFunction]] = {
    DefaultPPOTorchRLModule: ActorCritic,
    QNetAPI: QFunction,
}


def acting_function(module: RLModule) -> ActingFunction:
    """What a module acts with: what it says, or what RLlib's kind of it acts with here.

    Raises:
        ValueError: a module that says nothing, and is of no such kind.
    """
    if hasattr(module, "acting_function"):
        return module.acting_function()
    for kind, build in STOCK.items():
        if isinstance(module, kind):
            return build(module)
    raise ValueError(
        f"{type(module).__name__} does not say what it acts with: it needs a method "
        "acting_function(), or RLlib's QNetAPI"
    )
