"""The callback that damages Q on purpose: a test of the gate's fallback, not of the agent."""

from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback

from mec_rllib.rl.dqn.algorithm import GatedDQN
from mec_rllib.sim.streams import Purpose, generator


class CorruptQCallback(RLlibCallback):
    """Adds noise to the online network once, at the end of the first iteration from a slot on.

    The source corrupts early Q-values; how much and when is reconstructed.
    """

    def __init__(self) -> None:
        self._is_done = False

    def on_checkpoint_loaded(self, *, algorithm: GatedDQN, **kwargs: Any) -> None:
        """Once is once, in a resumed run too."""
        slot = algorithm.config.corrupt_slot
        self._is_done = slot is not None and algorithm.slots >= slot

    def on_train_result(self, *, algorithm: GatedDQN, **kwargs: Any) -> None:
        """Damages the network if it is time."""
        config = algorithm.config
        if self._is_done or config.corrupt_slot is None or algorithm.slots < config.corrupt_slot:
            return
        self._is_done = True
        algorithm.corrupt(config.corrupt_noise, generator(config.seed, Purpose.DAMAGE))
