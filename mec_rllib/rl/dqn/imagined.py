"""Experience that is imagined: arrivals that were seen, and servers on which they come again."""

from typing import Any

from mec_rllib.envs.afterstates import AfterstateEncoder
from mec_rllib.rl.dqn.afterstates import AfterstateLearner
from mec_rllib.rl.dqn.imagination import Chances, Terms, train_in_imagination
from mec_rllib.rl.dqn.updates import Train
from mec_rllib.sim.arrivals import ArrivalLog, Arrivals
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.streams import Purpose, generator


class ImaginedExperience:
    """What a training job learns from if nothing is kept but who arrived.

    Args:
        batch: servers like those that are imagined.
        gamma: discount per slot.
        real_servers: whose arrivals are recorded, all runners together.
        seed: of what is imagined.
        servers: W that are imagined; they go on from one training job to the next.
        lambda_: of TD(lambda).
        exploration: share of imagined slots with any allowed action.
        forget: slots in which the weight of an arrival falls to 1 / e.
        interrupted: share of imagined servers in which training jobs come.
    """

    def __init__(
        self,
        batch: ServerBatch,
        gamma: float,
        real_servers: int,
        seed: int,
        servers: int,
        lambda_: float,
        exploration: float,
        forget: float,
        interrupted: float,
    ):
        self._servers = batch.without_arrivals(servers)
        encoder = AfterstateEncoder(self._servers)
        self._sight = encoder.sight
        scale = float(batch.reward_scale)
        self._terms = Terms(
            encoder.features, gamma, lambda_, exploration, round(interrupted * servers), scale
        )
        self.arrivals = ArrivalLog(forget * real_servers, len(batch.rules.capacity))
        self._rng = generator(seed, Purpose.IMAGINATION)

    def __len__(self) -> int:
        return len(self.arrivals)

    @property
    def can_train(self) -> bool:
        """Whether anything was seen that could arrive again."""
        return len(self.arrivals) > 0

    def add(self, new: Arrivals) -> None:
        """Keeps what arrived."""
        self.arrivals.add(new)

    def uniforms(self, updates: int, batch: int) -> Chances:
        """What `updates` batches are imagined with; every afterstate is learned from once."""
        servers, needed = self._servers.num_servers, updates * batch
        slots = -(-needed // servers) + 1
        arrivals, exploration, action, training = self._rng.random((4, slots, servers))
        order = self._rng.permutation((slots - 1) * servers)[:needed]
        batches = order.reshape(updates, batch)
        return Chances(arrivals, exploration, action, training, batches)

    @property
    def parts(self) -> tuple[Any, ...]:
        """What a compiled training job reads and writes."""
        return self._servers.field, self._sight, self._terms, self.arrivals.recorded

    def get_state(self) -> dict[str, Any]:
        """Arrivals, imagined servers and the generator."""
        return {
            "arrivals": self.arrivals.get_state(),
            "servers": self._servers.get_state(),
            "rng": self._rng.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self.arrivals.set_state(state["arrivals"])
        self._servers.set_state(state["servers"])
        self._rng.bit_generator.state = state["rng"]


class ImaginingLearner(AfterstateLearner):
    """Trains values of afterstates on what it imagines."""

    train: Train = staticmethod(train_in_imagination)
    trains_from = ImaginedExperience

    def build(self) -> None:
        """Raises a ValueError for a network, a loss or an optimizer that needs autograd."""
        super().build()
        if self._compiled_updates is None:
            raise ValueError("imagined experience trains a plain ReLU network by Adam, on a CPU")
