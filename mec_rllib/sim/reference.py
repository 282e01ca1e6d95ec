"""One server in plain Python: the slot as a story, slow and easy to check by eye.

Written from the design, not from the kernel; the tests let both play the same jobs, and `bench`
measures what the kernel gains over it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mec_rllib.sim.server import CHUNK_SLOTS, ServerBatch, TrainingMode
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.training_jobs import NO_KIND
from mec_rllib.sim.workloads import Workload, of_seed

WAITS: Literal["waits"] = "waits"
MODES: tuple[TrainingMode, ...] = ("drain", "backfill", "pause")
Units = tuple[int, ...]


@dataclass
class Job:
    """A user job; requirement in units per resource kind, times in slots."""

    requirement: Units
    execution: int
    slack: int
    weight: float
    job_class: int = 0
    wait: int = 0


@dataclass
class ReferenceServer:
    """Plays one server; `jobs_of(slot)` lists the jobs that arrive in a slot."""

    jobs_of: Callable[[int], list[Job]]
    capacity: Units
    demands: tuple[Units, ...]  # of the kinds of training jobs
    buffer: int
    training_slots: tuple[int, ...] = (1,)
    mode: TrainingMode = "drain"
    slot: int = 0
    waiting: list[Job] = field(default_factory=list)
    running: list[tuple[int, Units]] = field(default_factory=list)  # slots left, requirement
    training: int | Literal["waits"] | None = None  # or the slots left
    kind: int = 0  # of the training job that waits or runs, or ran last
    arrived: int = 0
    started: int = 0
    expired: int = 0
    dropped: int = 0
    training_ran: int = 0
    blocked: int = 0
    since_training: int = 0
    waited: int = 0
    at_request: list[tuple[Units, int]] = field(default_factory=list)  # units used, jobs waiting

    def __post_init__(self) -> None:
        self.completed_jobs = [0] * len(self.demands)
        self.since_kind = [0] * len(self.demands)
        self._arrivals()

    @classmethod
    def like(cls, batch: ServerBatch, index: int, seed: int) -> "ReferenceServer":
        """A server of a batch in its first slot, on the very jobs that it draws from a seed."""
        rules = batch.rules
        return cls(
            JobStream(batch.workload, seed, index),
            tuple(rules.capacity.tolist()),
            tuple(tuple(demand) for demand in rules.demand.tolist()),
            batch.buffer,
            tuple(rules.training_slots.tolist()),
            MODES[rules.mode],
        )

    @property
    def used(self) -> Units:
        """Units held by user jobs, frozen ones included."""
        kinds = range(len(self.capacity))
        return tuple(sum(requirement[d] for _, requirement in self.running) for d in kinds)

    @property
    def units_in_use(self) -> Units:
        """Units held by what runs now, a training job included."""
        trains = self.training not in (None, WAITS)
        users = (0,) * len(self.capacity) if trains and self.mode == "pause" else self.used
        extra = self.demands[self.kind] if trains else (0,) * len(self.capacity)
        return tuple(user + more for user, more in zip(users, extra, strict=True))

    def mask(self, training: int | str | None = None, kind: int | None = None) -> list[bool]:
        """Allowed actions; `training` asks what if a training job of a kind were waiting."""
        training = training or self.training
        demand = self.demands[self.kind if kind is None else kind]
        allowed = [True] + [False] * self.buffer
        for k, job in enumerate(self.waiting):
            if job.wait > job.slack:
                allowed[k + 1] = False
            elif training is None:
                allowed[k + 1] = self._is_free(job.requirement)
            elif self.mode == "pause" or (self.mode == "drain" and training == WAITS):
                allowed[k + 1] = False
            elif training == WAITS:
                allowed[k + 1] = self._backfills(job, demand)
            else:
                allowed[k + 1] = self._is_free(job.requirement, beside=demand)
        return allowed

    def request_training(self, kind: int = 0) -> None:
        """Gate: inserts a training job of a kind, unless one waits or runs."""
        if self.training is None:
            self.training, self.kind = WAITS, kind
            self.at_request.append((self.used, len(self.waiting)))

    def step(self, action: int) -> tuple[tuple[float, float, float], int]:
        """Start, expiry and drop term of the reward, and the kind that completed, or -1."""
        self.waited += len(self.waiting)
        start = self._decide(action)
        completed = self._serve()
        expiry = self._expire()
        self.slot += 1
        return (start, expiry, self._arrivals()), completed

    def _arrivals(self) -> float:
        drop = 0.0
        for job in self.jobs_of(self.slot):
            self.arrived += 1
            if len(self.waiting) < self.buffer:
                self.waiting.append(job)
            else:
                self.dropped += 1
                drop -= job.weight
        return drop

    def _decide(self, action: int) -> float:
        allowed = self.mask()
        if not 0 < action < len(allowed) or not allowed[action]:
            return 0.0
        job = self.waiting.pop(action - 1)
        self.running.append((job.execution, job.requirement))
        self.started += 1
        return job.weight * (1 - 0.5 * job.wait / (job.slack + 1))

    def _serve(self) -> int:
        if self.training == WAITS:
            if self.mode == "pause" or self._is_free(self.demands[self.kind]):
                self.training = self.training_slots[self.kind]
            else:
                self.blocked += 1
        left_to_train = self.training if isinstance(self.training, int) else 0
        if not (left_to_train and self.mode == "pause"):
            self.running = [(left - 1, r) for left, r in self.running if left > 1]
        self.since_training += 1
        self.since_kind = [slots + 1 for slots in self.since_kind]
        if not left_to_train:
            return NO_KIND
        self.training_ran += 1
        self.training = left_to_train - 1
        if self.training > 0:
            return NO_KIND
        self.training = None
        self.completed_jobs[self.kind] += 1
        self.since_training = self.since_kind[self.kind] = 1
        return self.kind

    def _expire(self) -> float:
        term = 0.0
        for job in list(self.waiting):
            job.wait += 1
            if job.wait > job.slack:
                self.waiting.remove(job)
                self.expired += 1
                term -= job.weight
        return term

    def _is_free(self, units: Units, beside: Units | None = None) -> bool:
        beside = beside or (0,) * len(self.capacity)
        needed = zip(self.used, units, beside, self.capacity, strict=True)
        return all(used + unit + other <= most for used, unit, other, most in needed)

    def _backfills(self, job: Job, demand: Units) -> bool:
        longest = max((left for left, _ in self.running), default=0)
        if job.execution > longest or not self._is_free(job.requirement):
            return False
        return not self._is_free(demand) or self._is_free(job.requirement, demand)


class JobStream:
    """The jobs of one server by slot, drawn as `ServerBatch` draws them: chunk by chunk."""

    def __init__(self, workload: Workload, seed: int, index: int):
        self._workload = of_seed(workload, seed)
        self._rng = generator(seed, Purpose.ARRIVALS, index)
        self._jobs: dict[int, list[Job]] = {}
        self._drawn_until = 0

    def __call__(self, slot: int) -> list[Job]:
        """The jobs that arrive in this slot; slots are asked for in order."""
        while slot >= self._drawn_until:
            self._draw_chunk()
        return self._jobs.get(slot, [])

    def _draw_chunk(self) -> None:
        start, self._drawn_until = self._drawn_until, self._drawn_until + CHUNK_SLOTS
        table = self._workload.arrivals(self._rng, start, self._drawn_until)
        self._jobs = {}
        columns: Sequence[list] = [column.tolist() for column in table]
        for arrival, kind, requirement, execution, slack, weight in zip(*columns, strict=True):
            job = Job(tuple(requirement), execution, slack, weight, kind)
            self._jobs.setdefault(arrival, []).append(job)
