"""`LlmServing-v0`: one accelerator serves requests in a continuous batch, and trains meanwhile.

Reconstructed and ours. There is no idle state: a seat is nearly always taken, so that "train when
nothing runs" is no rule here. See `slot` for the beats, `traffic` for who asks for what.
"""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from mec_rllib.compiled import compiled
from mec_rllib.envs.llm.sight import SEEN, look
from mec_rllib.envs.llm.slot import (
    FREE,
    INTERACTIVE,
    PLACES,
    SEATS,
    Queues,
    Seats,
    Sums,
    free_seats,
    is_allowed,
    play,
)
from mec_rllib.envs.llm.traffic import DRAWS, VARIANTS, draw_arrivals, drift, first_traffic
from mec_rllib.lookup import nearest
from mec_rllib.sim.jobs import Bools

ACTIONS = 4
SCALE = 4.0  # rewards and weights are divided by it
TIGHT_SLOTS = 2  # slack below which a training job in pieces makes way
WORLD_SLOTS = 8000  # of a world, under drift


class LlmServing(gymnasium.Env):
    """Actions: 0 nothing; 1 admit an interactive request, 2 a batch request, 3 preempt for one.

    Reward: of an admission w (1 - 0.5 wait / (slack + 1)), -w for a request that waited too long
    or found its queue full, and the stalls of interactive sequences while a training job runs; all
    divided by 4, as is `info["weight"]`, the weight of the requests resolved. The task never ends.

    A training job takes a share of the accelerator: sequences tick slower, and with all of it
    only action 0 is left.

    Args:
        variant: plain, saturated (more batch requests), half (a training job takes half of the
            accelerator), drift (another world every 8,000 slots), calendar (bursts at fixed times,
            which are seen), announced (bursts are seen 60 slots ahead).
        share: of the accelerator that a training job takes, (0, 1]; None: 1, in `half` 0.5.

    Raises:
        ValueError: an unknown variant, or a share out of its range.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    _trains: bool  # the next slot is one of training

    def __init__(self, variant: str = "plain", share: float | None = None):
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}; {nearest(variant, VARIANTS)}")
        self._share = float(share if share is not None else 0.5 if variant == "half" else 1.0)
        if not 0.0 < self._share <= 1.0:
            raise ValueError(f"share must be in (0, 1], not {share}")
        self._terms = VARIANTS[variant]
        self.observation_space = spaces.Box(-1.0, np.inf, (SEEN,), np.float32)
        self.action_space = spaces.Discrete(ACTIONS)
        self._begin()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """An empty accelerator, and the requests of slot 0."""
        super().reset(seed=seed)
        self._begin()
        self._arrive()
        return self._observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Decide, tick, expire, and the requests of the next slot; what is forbidden is nothing."""
        allowed = int(action) if is_allowed(self.seats, self.queues, int(action)) else 0
        taken = self._share if self._trains else 0.0
        self._trains = False
        play(self.seats, self.queues, self._sums, self._traffic.weights, allowed, taken)
        self._slot += 1
        self._arrive()
        reward, weight = self._sums.reward[0] / SCALE, self._sums.weight[0] / SCALE
        return self._observe(), float(reward), False, False, {"weight": float(weight)}

    def action_masks(self) -> Bools:
        """(4,) actions allowed now."""
        allowed = np.empty(ACTIONS, bool)
        _allow(self.seats, self.queues, allowed)
        return allowed

    # What training costs: the accelerator, or a share of it.

    def training_actions(self, last_action: int | None) -> Bools:
        """(4,) with all of the accelerator taken nothing can be admitted."""
        return np.arange(ACTIONS) == 0 if self._share == 1.0 else np.ones(ACTIONS, bool)

    def pay_for_training(self) -> float:
        """The next slot is one of training; what it costs is in its reward."""
        self._trains = True
        return 0.0

    # What gates and rules look at.

    @property
    def use(self) -> float:
        """Share of the seats that are taken."""
        return 1.0 - free_seats(self.seats) / SEATS

    @property
    def queue(self) -> int:
        """Requests that wait."""
        return int(self.queues.waiting.sum())

    @property
    def is_empty(self) -> bool:
        """Whether no seat is taken."""
        return bool(free_seats(self.seats) == SEATS)

    @property
    def is_idle(self) -> bool:
        """Whether no seat is taken and nobody waits."""
        return self.is_empty and not self.queue

    @property
    def is_tight(self) -> bool:
        """Whether an interactive request waits that must be admitted within two slots."""
        waiting = self.queues.waiting[INTERACTIVE]
        return bool((self.queues.slack[INTERACTIVE, :waiting] < TIGHT_SLOTS).any())

    def _begin(self) -> None:
        numbers = (np.zeros((2, PLACES), np.int64) for _ in range(3))
        self.seats = Seats(np.zeros(SEATS), np.full(SEATS, FREE))
        self.queues = Queues(np.zeros(2, np.int64), np.zeros((2, PLACES)), *numbers)
        self._sums = Sums(np.zeros(1), np.zeros(1))
        self._traffic = first_traffic(self._terms)
        self._slot, self._trains = 0, False

    def _arrive(self) -> None:
        if self._terms.drifts and self._slot % WORLD_SLOTS == 0:
            drift(self._traffic, self.np_random)
        draws = self.np_random.random(DRAWS)
        draw_arrivals(self._traffic, self._terms, self.queues, self._sums, self._slot, draws)

    def _observe(self) -> np.ndarray:
        seen = np.empty(SEEN, np.float32)
        look(self.seats, self.queues, self._traffic, self._terms, self._slot, seen)
        return seen


@compiled
def _allow(seats, queues, allowed):
    for action in range(len(allowed)):
        allowed[action] = is_allowed(seats, queues, action)
