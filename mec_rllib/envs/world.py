"""What the learning loop asks of a world: the seam between the runner and who is played."""

from typing import Any, Protocol

from mec_rllib.envs.gym_world import GymBatch, GymTotals
from mec_rllib.envs.observation import Observations
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Sums, Totals


class World(Protocol):
    """N environments in lockstep that training jobs can be inserted into.

    `ServerBatch` is one (MEC servers, a continuing task), `GymBatch` another (environments of
    Gymnasium, with episodes).
    """

    has_episodes: bool  # False: `reached`, `ended` and `terminated` are not asked for
    reward_scale: float  # rewards are divided by it before the agent sees them
    num_servers: int  # N
    slot: int  # slots (steps) that each has played
    mask: Bools  # (N, A) actions allowed now
    kinds: int  # J, kinds of training jobs
    kind_costs: Floats  # (J,) slots of the whole server that a training job of each kind takes
    completed: Ints  # (N,) kind of the training job that completed in the last step, or -1
    is_idle: Bools  # (N,) nothing runs and nobody waits
    is_empty: Bools  # (N,) nothing runs
    workload_faults: int  # faults of whoever brings the jobs that were overcome

    @property
    def use(self) -> Floats:
        """(N,) share of the units in use, of the kind that is used most; NaN: it cannot say."""
        ...

    @property
    def queue(self) -> Ints | Floats:
        """(N,) jobs that wait; NaN: it cannot say."""
        ...

    @property
    def can_ask(self) -> Bools:
        """(N,) no training job waits or runs."""
        ...

    @property
    def training_waiting(self) -> Bools:
        """(N,) a training job was inserted and has not begun to run."""
        ...

    @property
    def since_training(self) -> Ints:
        """(N,) slots since the last training job completed, or since the start."""
        ...

    @property
    def training_kind(self) -> Ints:
        """(N,) kind (index) of the training job that waits or runs, or ran last."""
        ...

    @property
    def since_kind(self) -> Ints:
        """(N, J) as `since_training`, for each kind of training jobs."""
        ...

    def mask_with_training(self, kind: int = 0) -> Bools:
        """(N, A) actions that would be allowed if a training job of a kind were inserted now."""
        ...

    def request_training(self, wanted: Ints) -> None:
        """Inserts a training job of the kind wanted (N,), -1 for none, where that is possible."""
        ...

    def step(self, actions: Ints) -> Floats:
        """Plays a slot: (N,) rewards, not scaled."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Everything it remembers."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        ...


class WorldEncoder(Protocol):
    """What the agent sees of a world."""

    @property
    def size(self) -> int:
        """F, floats of an observation."""
        ...

    def encode(self) -> Observations:
        """(N, size) observations as of now."""
        ...

    def encode_flagged(self, obs: Observations, kind: int = 0) -> Observations:
        """(N, size) as if a training job of a kind waited everywhere; `obs` are those of now."""
        ...


class WorldVectorEnv(Protocol):
    """The vector environment of a world, as the runner and RLlib use it."""

    servers: Any  # a World
    encoder: WorldEncoder

    def reset(self, *, seed: int | None = None) -> tuple[Observations, dict[str, Any]]:
        """Starts afresh from a seed."""
        ...

    def totals(self) -> Sums:
        """What happened since the start."""
        ...


def totals_of(world: ServerBatch | GymBatch) -> Sums:
    """What happened in a world since its start."""
    return world.totals() if isinstance(world, GymBatch) else Totals.of(world)


def totals_from_json(values: dict[str, Any]) -> Sums:
    """What `Sums.to_json` wrote, of whichever world."""
    return (Totals if "jobs" in values else GymTotals).from_json(values)
