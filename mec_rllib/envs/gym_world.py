"""N environments of Gymnasium as a world for the learning loop."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mec_rllib.envs.observation import Observations
from mec_rllib.envs.training_cost import TrainingCostWrapper
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.streams import Purpose, generator, seed_of
from mec_rllib.sim.totals import Sums
from mec_rllib.sim.training_jobs import NO_KIND, kinds_wanted

Per = Literal["step", "episode", "weight"]


@dataclass
class GymTotals(Sums):
    """Sums over the environments and their steps; what only a MEC server has is NaN or null."""

    reward: Floats  # () of all steps, or of the episodes that have ended
    units: Floats  # () what a mean reward is per: steps, episodes that have ended, or weight
    episodes: Ints  # () ended

    @property
    def mean_reward(self) -> float:
        """Per step, per episode or per unit of weight; NaN before the first one."""
        return float(self.reward / self.units) if self.units else float("nan")

    def counts(self) -> dict[str, int | None]:
        """Episodes; there are no jobs."""
        jobs = ("arrived", "started", "expired", "dropped", "waiting")
        return {f"jobs_{what}": None for what in jobs} | {"episodes": int(self.episodes)}

    def shares(self) -> dict[str, float]:
        """The share of steps of training; no training job waits here."""
        share = float(self.training_slots / max(int(self.slots), 1))
        nothing = {"server_use": float("nan"), "queue": float("nan")}
        return {"share_training": share, "share_blocked": 0.0} | nothing

    def at_training(self) -> dict[str, float]:
        """Nothing."""
        return {"use_at_training": float("nan"), "queue_at_training": float("nan")}


class GymBatch:
    """N wrapped environments in lockstep (see `World` for what the loop asks).

    A step that ends an episode begins the next one at once; `reached` keeps what the step led to.
    Where an environment has attributes `is_idle`, `is_empty`, `use` and `queue`, gates look at
    them. Environment k of a seed is the same whatever N is.

    Args:
        make: builds one environment.
        num_envs: N.
        seed: of all of them.
        first_index: index of the first one.
        per: what the mean reward is per: a step, an episode that has ended, or the weight that an
            environment names in `info["weight"]`.

    Raises:
        ValueError: in a step: an environment that names no weight.
    """

    has_episodes = True
    kinds = 1  # of training jobs
    kind_costs = np.ones(1)
    reward_scale = 1.0

    def __init__(
        self,
        make: Callable[[], TrainingCostWrapper],
        num_envs: int = 1,
        seed: int = 0,
        first_index: int = 0,
        per: Per = "step",
    ):
        self.envs = [make() for _ in range(num_envs)]
        self.num_servers = num_envs
        self.first_index = first_index
        self._per = per
        self.observation_space = self.envs[0].observation_space
        self.action_space = self.envs[0].action_space
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Starts every environment and all sums afresh."""
        n = self.num_servers
        self.seed, self.slot = seed, 0
        self.workload_faults = 0  # there is no workload
        self.mask = np.ones((n, int(self.action_space.n)), bool)
        self.observations = np.zeros((n, self.observation_space.shape[0]), np.float32)
        self.reached = self.observations.copy()
        self.ended, self.terminated, self.is_idle, self.is_empty = (
            np.zeros(n, bool) for _ in range(4)
        )
        self.use, self.queue = (np.full(n, np.nan) for _ in range(2))
        self.completed = np.full(n, NO_KIND)
        self.rewards, self._return = np.zeros(n), np.zeros(n)
        self.since_training = np.zeros(n, np.int64)
        # As in GymTotals; the counts are training slots, training jobs and episodes.
        self._reward, self._units, self._counts = 0.0, 0.0, np.zeros(3, np.int64)
        for i, env in enumerate(self.envs):
            env.forget_training()
            env.reset(seed=seed_of(seed, Purpose.EPISODES, self.first_index + i))
            self._look(i, env)

    def step(self, actions: Ints) -> Floats:
        """Plays a step of every environment: (N,) rewards; the next step overwrites them."""
        self.slot += 1
        for i, env in enumerate(self.envs):
            trains = env.piece_left > 0
            obs, self.rewards[i], self.terminated[i], truncated, info = env.step(actions[i])
            self.reached[i] = obs
            self.ended[i] = self.terminated[i] or truncated
            completes = trains and not env.steps_left
            self.completed[i] = 0 if completes else NO_KIND
            self.since_training[i] = 1 if completes else self.since_training[i] + 1
            self._add(i, trains, info)
            if self.ended[i]:
                env.reset()
            self._look(i, env)
        return self.rewards

    def request_training(self, wanted: Bools | Ints) -> None:
        """Inserts a training job where wanted (N,) and none is running."""
        for i in np.flatnonzero(kinds_wanted(wanted) != NO_KIND).tolist():
            self.envs[i].request_training()
            self._look(i, self.envs[i])

    def mask_with_training(self, kind: int = 0) -> Bools:
        """(N, A) actions that are left if it trains now."""
        return np.array([env.mask_with_training() for env in self.envs])

    @property
    def can_ask(self) -> Bools:
        """(N,) no training job runs."""
        return np.array([env.steps_left == 0 for env in self.envs])

    @property
    def training_waiting(self) -> Bools:
        """(N,) a training job was inserted and has not begun to run."""
        return np.array([env.is_training_new for env in self.envs])

    @property
    def training_kind(self) -> Ints:
        """(N,) there is one kind of training job."""
        return np.zeros(self.num_servers, np.int64)

    @property
    def since_kind(self) -> Ints:
        """(N, 1) steps since the last training job."""
        return self.since_training[:, None]

    def totals(self) -> GymTotals:
        """Sums since the start."""
        training_slots, jobs, episodes = map(np.asarray, self._counts)
        return GymTotals(
            slots=np.asarray(self.slot * self.num_servers),
            training_slots=training_slots,
            training_jobs=jobs,
            reward=np.asarray(self._reward),
            units=np.asarray(self._units),
            episodes=episodes,
        )

    def get_state(self) -> dict[str, Any]:
        """The environments themselves, and every array."""
        return copy.deepcopy({k: v for k, v in vars(self).items() if k not in _FIXED})

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` of a batch of the same shape returned."""
        vars(self).update(copy.deepcopy(state))

    def imagine(self, real: "GymBatch", index: int, seeds: list[int]) -> None:
        """Puts all environments into the state that one of another batch is in now.

        Args:
            real: a batch of the same environments; it stays as it is.
            index: of its environment.
            seeds: of F futures, F a divisor of N; environment k draws from seed k mod F on.
        """
        self.slot = real.slot
        self.ended[:], self.completed[:] = False, NO_KIND
        for i in range(self.num_servers):
            env = self.envs[i] = copy.deepcopy(real.envs[index])
            env.unwrapped.np_random = generator(seeds[i % len(seeds)], Purpose.FUTURES)
            self.since_training[i] = real.since_training[index]
            self._return[i] = real._return[index]
            self._look(i, env)

    def _add(self, i: int, trains: bool, info: dict[str, Any]) -> None:
        self._return[i] += self.rewards[i]
        ended = self.ended[i]
        self._counts += trains, self.completed[i] != NO_KIND, ended
        if self._per == "episode":
            self._reward += float(self._return[i] if ended else 0.0)
            self._units += float(ended)
        else:
            self._reward += float(self.rewards[i])
            self._units += 1.0 if self._per == "step" else self._weight(i, info)
        if ended:
            self._return[i] = 0.0

    def _weight(self, i: int, info: dict[str, Any]) -> float:
        if "weight" not in info:
            raise ValueError(
                f"gym.reward is weight, but {type(self.envs[i].unwrapped).__name__} names none in "
                'info["weight"]; take step or episode'
            )
        return float(info["weight"])

    def _look(self, i: int, env: TrainingCostWrapper) -> None:
        self.observations[i] = env.observation()
        self.mask[i] = env.action_masks()
        self.is_idle[i] = getattr(env.unwrapped, "is_idle", False)
        self.is_empty[i] = getattr(env.unwrapped, "is_empty", False)
        self.use[i] = getattr(env.unwrapped, "use", np.nan)
        self.queue[i] = getattr(env.unwrapped, "queue", np.nan)


_FIXED = ("num_servers", "first_index", "observation_space", "action_space", "_per")


class GymEncoder:
    """What the agent sees of a `GymBatch`: the wrappers' observations, the flag last."""

    def __init__(self, batch: GymBatch):
        self._batch = batch
        self.low, self.high = batch.observation_space.low, batch.observation_space.high
        self.size = batch.observation_space.shape[0]

    def encode(self) -> Observations:
        """(N, size) observations as of now."""
        return self._batch.observations.copy()

    def encode_flagged(self, obs: Observations, kind: int = 0) -> Observations:
        """(N, size) the observations `obs` of now, as if a training job waited everywhere."""
        flagged = obs.copy()
        flagged[:, -1] = 1.0
        return flagged


class GymVectorEnv(VectorEnv):
    """A `GymBatch` as RLlib wants to see an environment: spaces and a first observation.

    The runner plays the batch itself, as it does with `MecVectorEnv`.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, batch: GymBatch):
        self.servers, self.encoder = batch, GymEncoder(batch)
        self.num_envs = batch.num_servers
        self.single_observation_space = batch.observation_space
        self.single_action_space = batch.action_space
        self.observation_space = batch_space(batch.observation_space, self.num_envs)
        self.action_space = batch_space(batch.action_space, self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Starts afresh from a seed."""
        super().reset(seed=seed)
        self.servers.reset(self.servers.seed if seed is None else seed)
        return self.encoder.encode(), {}

    def totals(self) -> GymTotals:
        """Sums since the start."""
        return self.servers.totals()
