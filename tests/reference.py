"""One server in plain Python: the slot as a story, slow and easy to check by eye.

Written from the design, not from the kernel; the tests let both play the same jobs.
"""

from dataclasses import dataclass, field

WAITS = "waits"


@dataclass
class Job:
    """A user job; requirement in units per resource kind, times in slots."""

    requirement: tuple
    execution: int
    slack: int
    weight: float
    job_class: int = 0
    wait: int = 0


@dataclass
class ReferenceServer:
    """Plays one server; `jobs_of(slot)` lists the jobs that arrive in a slot."""

    jobs_of: object
    capacity: tuple
    demand: tuple
    buffer: int
    training_slots: int = 1
    mode: str = "drain"
    slot: int = 0
    waiting: list = field(default_factory=list)
    running: list = field(default_factory=list)  # [slots left, requirement]
    training: object = None  # None, WAITS, or slots left
    arrived: int = 0
    started: int = 0
    expired: int = 0
    dropped: int = 0
    training_ran: int = 0
    blocked: int = 0
    completed_jobs: int = 0
    since_training: int = 0
    waited: int = 0
    at_request: list = field(default_factory=list)  # (units used, jobs waiting) at each

    def __post_init__(self):
        self.first_drop = self._arrivals()

    @property
    def used(self):
        kinds = range(len(self.capacity))
        return tuple(sum(requirement[d] for _, requirement in self.running) for d in kinds)

    def mask(self, training=None):
        """Allowed actions; `training` asks what if a training job were waiting."""
        training = training or self.training
        allowed = [True] + [False] * self.buffer
        for k, job in enumerate(self.waiting):
            if training is None:
                allowed[k + 1] = self._is_free(job.requirement)
            elif self.mode == "pause" or (self.mode == "drain" and training == WAITS):
                allowed[k + 1] = False
            elif training == WAITS:
                allowed[k + 1] = self._backfills(job)
            else:
                allowed[k + 1] = self._is_free(job.requirement, beside=self.demand)
        return allowed

    def request_training(self):
        if self.training is None:
            self.training = WAITS
            self.at_request.append((self.used, len(self.waiting)))

    def step(self, action):
        """Start, expiry and drop term of the reward, and whether a training job completed."""
        self.waited += len(self.waiting)
        start = self._decide(action)
        completed = self._serve()
        expiry = self._expire()
        self.slot += 1
        return (start, expiry, self._arrivals()), completed

    def _arrivals(self):
        drop = 0.0
        for job in self.jobs_of(self.slot):
            self.arrived += 1
            if len(self.waiting) < self.buffer:
                self.waiting.append(job)
            else:
                self.dropped += 1
                drop -= job.weight
        return drop

    def _decide(self, action):
        allowed = self.mask()
        if not 0 < action < len(allowed) or not allowed[action]:
            return 0.0
        job = self.waiting.pop(action - 1)
        self.running.append([job.execution, job.requirement])
        self.started += 1
        return job.weight * (1 - 0.5 * job.wait / (job.slack + 1))

    def _serve(self):
        if self.training == WAITS:
            if self.mode == "pause" or self._is_free(self.demand):
                self.training = self.training_slots
            else:
                self.blocked += 1
        trains = self.training not in (None, WAITS)
        if not (trains and self.mode == "pause"):
            self.running = [[left - 1, r] for left, r in self.running if left > 1]
        self.since_training += 1
        if not trains:
            return False
        self.training_ran += 1
        self.training -= 1
        if self.training > 0:
            return False
        self.training = None
        self.completed_jobs += 1
        self.since_training = 1
        return True

    def _expire(self):
        term = 0.0
        for job in list(self.waiting):
            job.wait += 1
            if job.wait > job.slack:
                self.waiting.remove(job)
                self.expired += 1
                term -= job.weight
        return term

    def _is_free(self, units, beside=None):
        beside = beside or (0,) * len(self.capacity)
        needed = zip(self.used, units, beside, self.capacity, strict=True)
        return all(used + unit + other <= most for used, unit, other, most in needed)

    def _backfills(self, job):
        longest = max((left for left, _ in self.running), default=0)
        if job.execution > longest or not self._is_free(job.requirement):
            return False
        return not self._is_free(self.demand) or self._is_free(job.requirement, self.demand)
