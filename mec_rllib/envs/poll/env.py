"""`Polling-v0`: one server goes round four queues, and cannot move while it trains.

Reconstructed and ours: the counter-example to "train when the server does least". See `slot` for
the beats.
"""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from mec_rllib.envs.poll.slot import (
    DRAWS,
    PLACES,
    QUEUES,
    SEEN,
    STAY,
    Polling,
    allow,
    look,
    play,
)
from mec_rllib.sim.jobs import Bools

RATES, COSTS = (0.26, 0.20, 0.13, 0.07), (1.0, 2.0, 1.0, 4.0)
WORLD_SLOTS = 8000  # of a world, under drift


class PollingServer(gymnasium.Env):
    """Actions: 0 stay; 1 go to the other queue with the largest cost of waiting (2 slots).

    A customer who waits costs 0.05 c a slot, one who finds a queue of 12 costs 2 c; the reward is
    -0.1 times that. The task never ends. While a training job runs the server stays at its queue
    and serves on, whatever is played.

    Args:
        drift: whether rates and costs change places every 8,000 slots.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    _trains: bool  # the next slot is one of training

    def __init__(self, drift: bool = False):
        self._drift = drift
        most = float(np.log(1.0 + PLACES))
        self.observation_space = spaces.Box(0.0, most, (SEEN,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._begin()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Empty queues."""
        super().reset(seed=seed)
        self._begin()
        return self._observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Go, serve, and the arrivals of the next slot."""
        if self._drift and self._slot % WORLD_SLOTS == 0:
            self.world.rates[:] = self.np_random.permutation(RATES)
            self.world.costs[:] = self.np_random.permutation(COSTS)
        reward = play(self.world, int(action), self._trains, self.np_random.random(DRAWS))
        self._trains = False
        self._slot += 1
        return self._observe(), float(reward), False, False, {}

    def action_masks(self) -> Bools:
        """(2,) actions allowed now: nobody stays at an empty queue if others wait elsewhere."""
        allowed = np.empty(2, bool)
        allow(self.world, allowed)
        return allowed

    # What training costs: the server cannot move.

    def training_actions(self, last_action: int | None) -> Bools:
        """(2,) it stays."""
        return np.arange(2) == STAY

    def pay_for_training(self) -> float:
        """The next slot is one of training; what it costs is in its reward."""
        self._trains = True
        return 0.0

    # What gates look at.

    @property
    def use(self) -> float:
        """1 while it serves a customer; 0 on its way, or at an empty queue."""
        at = self.world.at[0]
        return float(self.world.set_up[0] == 0 and self.world.waiting[at] > 0)

    @property
    def queue(self) -> int:
        """Customers that wait."""
        return int(self.world.waiting.sum())

    @property
    def is_empty(self) -> bool:
        """Whether it serves nobody."""
        return not self.use

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits at all."""
        return not self.queue

    @property
    def is_tight(self) -> bool:
        """Whether the server is at an empty queue while others wait elsewhere."""
        return not self.action_masks()[STAY]

    def _begin(self) -> None:
        self.world = Polling(
            waiting=np.zeros(QUEUES, np.int64),
            at=np.zeros(1, np.int64),
            set_up=np.zeros(1, np.int64),
            rates=np.array(RATES),
            costs=np.array(COSTS),
            means=np.zeros(QUEUES),
        )
        self._slot, self._trains = 0, False

    def _observe(self) -> np.ndarray:
        seen = np.empty(SEEN, np.float32)
        look(self.world, seen)
        return seen
