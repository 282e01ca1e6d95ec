"""The callback that damages Q on purpose: a test of the gate's fallback, not of the agent."""

from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback

from mec_rllib.rl.algorithm import GatedAlgorithm
from mec_rllib.rl.gated_config import require_gated
from mec_rllib.sim.streams import Purpose, generator


class CorruptQCallback(RLlibCallback):
    """Adds noise to the online network once, at the end of the first iteration from a slot on.

    The source corrupts early Q-values; how much and when is reconstructed.
    """

    def __init__(self) -> None:
        self._is_done = False

    def on_algorithm_init(self, *, algorithm: GatedAlgorithm, **kwargs: Any) -> None:
        """Raises a ValueError where the algorithm is RLlib's own."""
        require_gated(algorithm.config, self)

    def on_checkpoint_loaded(self, *, algorithm: GatedAlgorithm, **kwargs: Any) -> None:
        """Once is once, in a resumed run too."""
        slot = algorithm.config.corrupt_slot
        self._is_done = slot is not None and algorithm.slots >= slot

    def on_train_result(self, *, algorithm: GatedAlgorithm, **kwargs: Any) -> None:
        """Damages the network if it is time."""
        config = algorithm.config
        if self._is_done or config.corrupt_slot is None or algorithm.slots < config.corrupt_slot:
            return
        self._is_done = True
        algorithm.corrupt(config.corrupt_noise, generator(config.seed, Purpose.DAMAGE))
