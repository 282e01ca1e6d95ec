"""What a module acts with, and the greedy policy as a scheduler like any other."""

from pathlib import Path

from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.rl_module.apis import TargetNetworkAPI
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.typing import StateDict

from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.envs.gym_world import GymBatch
from mec_rllib.envs.world import WorldEncoder
from mec_rllib.rl.actor_critic import ActorCritic, GatedSACModule, SoftActorCritic
from mec_rllib.rl.bootstrapped import BootstrappedModule, BootstrappedQ
from mec_rllib.rl.noisy import NoisyModule, NoisyQ
from mec_rllib.rl.q_function import QFunction, acts_with_target_network, best_allowed
from mec_rllib.sim.jobs import Ints
from mec_rllib.sim.server import ServerBatch


def acting_weights(module: RLModule) -> StateDict:
    """Weights for a module that only acts: of the network that decides."""
    weights = module.get_state(inference_only=True)
    if not acts_with_target_network(module):
        return weights
    whole = module.get_state()
    return {name: whole[f"_target_{name}"] for name in weights}


class GreedyPolicy:
    """A trained module as a scheduler: always the allowed action that it rates highest.

    Args:
        module: a module of DQN, SAC or PPO.
        observe: the observation that the module was trained with (arguments of `encoder_of`).
    """

    def __init__(self, module: RLModule, observe: dict | None = None):
        self._rate = acting_function(module)
        self._observe = observe or {}
        self._encoder: WorldEncoder | None = None
        self._batch: ServerBatch | GymBatch | None = None

    def select(self, batch: ServerBatch | GymBatch) -> Ints:
        """Actions (N,)."""
        if self._encoder is None or self._batch is not batch:
            self._batch, self._encoder = batch, encoder_of(batch, **self._observe)
        return best_allowed(self._rate(self._encoder.encode()), batch.mask)[0]


def acting_function(module: RLModule) -> QFunction | ActorCritic | SoftActorCritic:
    """What a module of DQN, SAC or PPO acts with."""
    if isinstance(module, GatedSACModule):
        return SoftActorCritic(module)
    if isinstance(module, DefaultPPOTorchRLModule):
        return ActorCritic(module)
    if isinstance(module, BootstrappedModule):
        return BootstrappedQ(module)
    return NoisyQ(module) if isinstance(module, NoisyModule) else QFunction(module)


def load_module(checkpoint: str | Path) -> RLModule:
    """The RLModule of an RLlib checkpoint, with its target network.

    It is loaded with pickle: code in it runs. `mec_rllib.rl.policy_file.load_policy` reads what
    our own checkpoints hold without that.

    Raises:
        ValueError: no such checkpoint.
    """
    path = Path(checkpoint).absolute() / "learner_group" / "learner" / "rl_module"
    if not path.is_dir():
        raise ValueError(f"checkpoint {checkpoint}: no policy found in it")
    module = RLModule.from_checkpoint(path / "default_policy")
    if isinstance(module, TargetNetworkAPI):
        module.make_target_networks()  # RLlib makes them in the learner only
    module.restore_from_path(path / "default_policy")
    return module
