"""What a module acts with, and the greedy policy as a scheduler like any other."""

from pathlib import Path

from ray.rllib.core.rl_module.apis import TargetNetworkAPI
from ray.rllib.core.rl_module.rl_module import RLModule

from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.envs.gym_world import GymBatch
from mec_rllib.envs.world import WorldEncoder
from mec_rllib.rl.masks import best_allowed
from mec_rllib.rl.modules import acting_function
from mec_rllib.sim.jobs import Ints
from mec_rllib.sim.server import ServerBatch


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
