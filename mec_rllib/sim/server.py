"""The slot, beat by beat, for a batch of N independent servers.

One numba kernel plays the slot of every server; `ServerBatch` owns the arrays and feeds it jobs.
All servers share the slot number, nothing else. The beats of slot t:

    arrivals -> gate (`request_training`) -> decide -> serve -> expire -> arrivals of t + 1

`step` plays decide to the arrivals of the next slot, so that a drop is counted in the transition
that ends with the arrival. What the source leaves open is *reconstructed* and marked so.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numba import njit

from mec_rllib.sim.jobs import Bools, Floats, Ints, Jobs
from mec_rllib.sim.workloads import Workload, of_seed

TrainingMode = Literal["drain", "backfill", "pause"]
DRAIN, BACKFILL, PAUSE = range(3)

ARRIVED, STARTED, EXPIRED, DROPPED = range(4)  # columns of Tally.jobs
START, EXPIRY, DROP = range(3)  # columns of Tally.reward: the reward's terms
WAITING = -1  # Servers.training while a training job waits for its demand

# Jobs are drawn for so many slots at once. Part of what a seed means: changing it changes streams.
CHUNK_SLOTS = 1024
# A workload that fails is asked again; after so many times in a row it is not.
WORKLOAD_ATTEMPTS = 10


# A kernel here only reads and writes the arrays that it is given. Without numba's reference
# counts for them (atomic, at every access through a tuple) the slot takes a fifth of the time;
# a kernel that allocates does not compile with it.
kernel = njit(cache=True, error_model="numpy", _nrt=False)
inlined = njit(inline="always")


class Servers(NamedTuple):
    """State of N servers: buffers of M rows (first come first), D resource kinds, horizon H."""

    waiting: Ints  # (N,) jobs in the buffer
    requirement: Ints  # (N, M, D) units
    execution: Ints  # (N, M) slots
    slack: Ints  # (N, M) slots a job may wait
    wait: Ints  # (N, M) slots it has waited
    weight: Floats  # (N, M)
    job_class: Ints  # (N, M)
    used: Ints  # (N, D) units held by user jobs, frozen ones included
    releases: Ints  # (N, H, D) units given back when service slot h (mod H) ends
    clock: Ints  # (N,) service slots played; stands still while user jobs are frozen
    last_end: Ints  # (N,) service slot after which no user job of now is running
    training: Ints  # (N,) 0 none, WAITING, or slots left of the running training job
    since_training: Ints  # (N,) slots since the last training job completed (or since slot 0)
    training_kind: Ints  # (N,) kind (index) of the training job that waits or runs, or ran last
    since_kind: Ints  # (N, J) as since_training, for each of J kinds of training jobs


class Tally(NamedTuple):
    """What happened so far, per server. Every resolved job is in here once."""

    jobs: Ints  # (N, classes, 4) arrived, started, expired, dropped
    reward: Floats  # (N, 3) sums of the start, expiry and drop terms, not scaled
    weight: Floats  # (N,) weight of the resolved jobs
    slots: Ints  # (N,)
    training_slots: Ints  # (N,) slots in which a training job ran
    blocked_slots: Ints  # (N,) slots in which a training job waited and did not run
    training_jobs: Ints  # (N, J) completed, by kind
    used: Ints  # (N, D) unit-slots held by user jobs that ran
    waiting: Ints  # (N,) job-slots in the buffer when the slot was decided
    requests: Ints  # (N,) training jobs inserted
    used_at_request: Ints  # (N, D) units held by user jobs then, summed over the requests
    waiting_at_request: Ints  # (N,) jobs in the buffer then, summed over the requests


class Now(NamedTuple):
    """What follows from the state, and what the last slot brought."""

    mask: Bools  # (N, M + 1) actions allowed
    units_in_use: Ints  # (N, D) by running user jobs (frozen ones aside) or a training job
    is_empty: Bools  # (N,) no unit in use; jobs may wait
    is_idle: Bools  # (N,) no unit in use and nobody waits
    reward_terms: Floats  # (N, 3) start, expiry and drop of the last step, not scaled
    rewards: Floats  # (N,) their sum
    completed: Ints  # (N,) kind (1..J) of the training job that completed in the last step, or 0


class Rules(NamedTuple):
    """What does not change during a run."""

    capacity: Ints  # (D,) units
    demand: Ints  # (J, D) units of a training job of each kind
    training_slots: Ints  # (J,) its duration
    mode: int  # DRAIN, BACKFILL or PAUSE


class ServerBatch:
    """N servers on one workload; same seed and server index, same jobs, whatever N is.

    Args:
        workload: where jobs come from; it also brings the capacity.
        num_servers: N.
        buffer: M, jobs that may wait per server.
        training_share: demand of a training job, share of every resource kind, (0, 1]; with
            several kinds of training jobs one share per kind.
        training_slots: duration of a training job, at least 1; likewise.
        mode: what user jobs do around a training job. "drain": nothing starts until it runs.
            "backfill": a job may start if it ends no later than the longest running job (and,
            when the demand is already free, fits beside it). "pause": running jobs freeze while
            it runs, nothing starts; waits go on. Known is only that it takes all C for one slot.
        seed: any non-negative int.
        first_index: index of the first server; index k draws from the generator (seed, k).

    Raises:
        ValueError: a parameter out of its range.
    """

    has_episodes = False  # a continuing task

    def __init__(
        self,
        workload: Workload,
        num_servers: int = 1,
        buffer: int = 10,
        training_share: float | Sequence[float] = 1.0,
        training_slots: int | Sequence[int] = 1,
        mode: TrainingMode = "drain",
        seed: int = 0,
        first_index: int = 0,
    ):
        shares, durations = np.atleast_1d(training_share), np.atleast_1d(training_slots)
        if num_servers < 1 or buffer < 1 or durations.min() < 1:
            raise ValueError("num_servers, buffer and training_slots must be at least 1")
        if shares.min() <= 0 or shares.max() > 1:
            raise ValueError(f"training_share must be in (0, 1], not {training_share}")
        if len(shares) != len(durations):
            raise ValueError(
                f"{len(shares)} kinds of training jobs have a share, {len(durations)} have slots"
            )
        if mode not in get_args(TrainingMode):
            raise ValueError(f"mode must be one of {', '.join(get_args(TrainingMode))}: {mode!r}")
        self._described = workload
        self.num_servers = num_servers
        self.buffer = buffer
        self.first_index = first_index
        self.reward_scale = workload.max_weight  # rewards are divided by it for the learner
        capacity = np.array(workload.capacity, np.int64)
        self.rules = Rules(
            capacity,
            # As for requirements of a trace: 0.3 * 10 must not ask for a fourth unit.
            np.ceil(shares[:, None] * capacity - 1e-9).astype(np.int64),
            durations.astype(np.int64),
            get_args(TrainingMode).index(mode),
        )
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Empties every server, clears the tallies and plays the arrivals of slot 0."""
        n, m, d, kinds = self.num_servers, self.buffer, len(self.rules.capacity), self.kinds
        self.workload = of_seed(self._described, seed)
        horizon = self.workload.max_execution + 1
        zeros = lambda *shape: np.zeros((n, *shape), np.int64)  # noqa: E731
        self.servers = Servers(
            waiting=zeros(),
            requirement=zeros(m, d),
            execution=zeros(m),
            slack=zeros(m),
            wait=zeros(m),
            weight=np.zeros((n, m)),
            job_class=zeros(m),
            used=zeros(d),
            releases=zeros(horizon, d),
            clock=zeros(),
            last_end=zeros(),
            training=zeros(),
            since_training=zeros(),
            training_kind=zeros(),
            since_kind=zeros(kinds),
        )
        self.tally = Tally(
            jobs=zeros(len(self.workload.class_names), 4),
            reward=np.zeros((n, 3)),
            weight=np.zeros(n),
            slots=zeros(),
            training_slots=zeros(),
            blocked_slots=zeros(),
            training_jobs=zeros(kinds),
            used=zeros(d),
            waiting=zeros(),
            requests=zeros(),
            used_at_request=zeros(d),
            waiting_at_request=zeros(),
        )
        self.seed, self.slot = seed, 0
        self.workload_faults = 0  # times that the workload failed and was asked again
        self.now = Now(
            mask=np.zeros((n, m + 1), bool),
            units_in_use=zeros(d),
            is_empty=np.zeros(n, bool),
            is_idle=np.zeros(n, bool),
            reward_terms=np.zeros((n, 3)),
            rewards=np.zeros(n),
            completed=zeros(),
        )
        self.mask, self.units_in_use, self.is_empty, self.is_idle = self.now[:4]
        self.reward_terms, self.rewards, self.completed = self.now[4:]
        self.rngs = [np.random.default_rng([seed, self.first_index + i]) for i in range(n)]
        self._draw_chunk()
        _open(self.servers, self.tally, self._stream, self._cursor)
        self.refresh()

    def refresh(self) -> None:
        """Takes a new look at the servers, after their state has been written from outside."""
        _refresh(self.servers, self.now, self.rules)

    def request_training(self, wanted: Bools | Ints) -> None:
        """Gate: inserts a training job where wanted (N,) and none is waiting or running.

        Args:
            wanted: kind of the job, 1..J, or 0 for none; True is kind 1.

        Raises:
            ValueError: a kind that is not there.
        """
        kinds = np.asarray(wanted, np.int64)
        if kinds.min() < 0 or kinds.max() > self.kinds:
            raise ValueError(f"training jobs have kinds 1..{self.kinds}, not {kinds.max()}")
        _request(self.servers, self.tally, self.rules, kinds, self.mask)

    def step(self, actions: Ints) -> Floats:
        """Plays the slot: decide, serve, expire, then the arrivals of the next slot.

        Args:
            actions: (N,) 0 = start nothing, i = start the i-th waiting job. An action that
                `mask` does not allow starts nothing.

        Returns:
            (N,) sum of `reward_terms`, not scaled; the next step overwrites it.
        """
        self.slot += 1
        if self.slot == self._drawn_until:
            self._draw_chunk()
        _step(
            self.servers,
            self.tally,
            self.now,
            self.rules,
            self._stream,
            self._cursor,
            self.slot,
            np.asarray(actions, np.int64),
        )
        return self.rewards

    def mask_with_training(self, kind: int = 0) -> Bools:
        """(N, M + 1) actions that would be allowed if a training job of a kind waited now."""
        flagged = np.zeros(self.mask.shape, bool)
        _mask_with_training(self.servers, self.rules, self.mask, kind, flagged)
        return flagged

    def get_state(self) -> dict[str, Any]:
        """Servers, tallies, the jobs drawn ahead, and every generator."""
        copies = {
            name: [column.copy() for column in table]
            for name, table in (("servers", self.servers), ("tally", self.tally), ("now", self.now))
        }
        return copies | {
            "seed": self.seed,
            "slot": self.slot,
            "workload_faults": self.workload_faults,
            "stream": list(self._stream),
            "cursor": self._cursor.copy(),
            "drawn_until": self._drawn_until,
            "rngs": [rng.bit_generator.state for rng in self.rngs],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` of a batch of the same shape returned."""
        for name, table in (("servers", self.servers), ("tally", self.tally), ("now", self.now)):
            for column, values in zip(table, state[name], strict=True):
                column[...] = values
        self.seed, self.slot = state["seed"], state["slot"]
        self.workload = of_seed(self._described, self.seed)
        self.workload_faults = state["workload_faults"]
        self._stream, self._cursor = Jobs(*state["stream"]), state["cursor"].copy()
        self._drawn_until = state["drawn_until"]
        for rng, rng_state in zip(self.rngs, state["rngs"], strict=True):
            rng.bit_generator.state = rng_state

    def imagine(self, real: "ServerBatch", index: int, futures: list[Jobs]) -> None:
        """Puts all servers into the state that one server of another batch is in now.

        Args:
            real: a batch of the same shape, but for N; it stays as it is.
            index: of its server.
            futures: F tables of arrivals from the next slot on, F a divisor of N; server k sees
                table k mod F. They must reach as far as the servers are played.
        """
        for table, values in ((self.servers, real.servers), (self.now, real.now)):
            for mine, theirs in zip(table, values, strict=True):
                mine[...] = theirs[index]
        self.slot, self._drawn_until = real.slot, -1
        self._stream = Jobs.concatenate(futures)
        ends = np.cumsum([len(future.arrival) for future in futures])
        cursor = np.stack([np.concatenate(([0], ends[:-1])), ends], axis=1)
        self._cursor = np.tile(cursor, (self.num_servers // len(futures), 1))

    @property
    def kinds(self) -> int:
        """J, kinds of training jobs."""
        return len(self.rules.demand)

    @property
    def training_waiting(self) -> Bools:
        """(N,) whether a training job waits for its demand."""
        return self.servers.training == WAITING

    @property
    def training_kind(self) -> Ints:
        """(N,) kind (index) of the training job that waits or runs, or ran last."""
        return self.servers.training_kind

    @property
    def can_ask(self) -> Bools:
        """(N,) no training job waits or runs."""
        return self.servers.training == 0

    @property
    def since_training(self) -> Ints:
        """(N,) slots since the last training job completed (or since slot 0)."""
        return self.servers.since_training

    @property
    def since_kind(self) -> Ints:
        """(N, J) slots since the last training job of each kind completed (or since slot 0)."""
        return self.servers.since_kind

    def _draw_chunk(self) -> None:
        tables = [self._arrivals(rng) for rng in self.rngs]
        self._drawn_until = self.slot + CHUNK_SLOTS
        ends = np.cumsum([len(table.arrival) for table in tables])
        self._stream = Jobs.concatenate(tables)
        self._cursor = np.stack([np.concatenate(([0], ends[:-1])), ends], axis=1)

    def _arrivals(self, rng: np.random.Generator) -> Jobs:
        """The next jobs of a server. A fault of the workload leaves no trace but a count."""
        before = rng.bit_generator.state
        for attempt in range(1, WORKLOAD_ATTEMPTS + 1):
            try:
                return self.workload.arrivals(rng, self.slot, self.slot + CHUNK_SLOTS)
            except Exception as error:
                rng.bit_generator.state = before
                if attempt == WORKLOAD_ATTEMPTS:
                    raise RuntimeError(
                        f"the workload failed {attempt} times in a row at slot {self.slot}: "
                        f"{type(error).__name__}: {error}"
                    ) from error
                self.workload_faults += 1
        raise AssertionError("unreachable")


@kernel
def _step(servers, tally, now, rules, stream, cursor, next_slot, actions):
    for i in range(len(actions)):
        tally.waiting[i] += servers.waiting[i]
        start = 0.0
        if 0 < actions[i] < now.mask.shape[1] and now.mask[i, actions[i]]:
            start = _start(servers, tally, i, actions[i] - 1)
        now.completed[i] = _serve(servers, tally, rules, i)
        expiry = _expire(servers, tally, i)
        drop = _admit(servers, tally, stream, cursor, next_slot, i)
        _allow(servers, rules, i, now.mask)
        _measure_use(servers, rules, i, now)
        now.reward_terms[i, START] = start
        now.reward_terms[i, EXPIRY] = expiry
        now.reward_terms[i, DROP] = drop
        now.rewards[i] = start + expiry + drop
        for term in range(3):
            tally.reward[i, term] += now.reward_terms[i, term]
        tally.slots[i] += 1


@kernel
def _open(servers, tally, stream, cursor):
    """Slot 0 has arrivals, but no transition that ends with them."""
    for i in range(len(cursor)):
        tally.reward[i, DROP] += _admit(servers, tally, stream, cursor, 0, i)


@kernel
def _refresh(servers, now, rules):
    for i in range(len(now.mask)):
        _allow(servers, rules, i, now.mask)
        _measure_use(servers, rules, i, now)


@inlined
def _start(servers, tally, i, row):
    """Decide: the job in this row takes its units; returns the start term of the reward."""
    end = servers.clock[i] + servers.execution[i, row]
    horizon = servers.releases.shape[1]
    for d in range(servers.used.shape[1]):
        servers.used[i, d] += servers.requirement[i, row, d]
        servers.releases[i, (end - 1) % horizon, d] += servers.requirement[i, row, d]
    servers.last_end[i] = max(servers.last_end[i], end)
    weight = servers.weight[i, row]
    tally.jobs[i, servers.job_class[i, row], STARTED] += 1
    tally.weight[i] += weight
    term = weight * (1.0 - 0.5 * servers.wait[i, row] / (servers.slack[i, row] + 1))
    _remove(servers, i, row)
    return term


@inlined
def _serve(servers, tally, rules, i):
    """Serve: training starts if it can, everything that runs ticks; the kind that completed."""
    kind = servers.training_kind[i]
    if servers.training[i] == WAITING:
        if rules.mode == PAUSE or _demand_is_free(servers, rules, i, kind):
            servers.training[i] = rules.training_slots[kind]
        else:
            tally.blocked_slots[i] += 1
    trains = servers.training[i] > 0
    if not (trains and rules.mode == PAUSE):
        now = servers.clock[i] % servers.releases.shape[1]
        for d in range(servers.used.shape[1]):
            tally.used[i, d] += servers.used[i, d]
            servers.used[i, d] -= servers.releases[i, now, d]
            servers.releases[i, now, d] = 0
        servers.clock[i] += 1
    completed = 0
    if trains:
        tally.training_slots[i] += 1
        servers.training[i] -= 1
        if servers.training[i] == 0:
            tally.training_jobs[i, kind] += 1
            servers.since_training[i] = 0
            servers.since_kind[i, kind] = 0
            completed = kind + 1
    servers.since_training[i] += 1
    for k in range(servers.since_kind.shape[1]):
        servers.since_kind[i, k] += 1
    return completed


@inlined
def _expire(servers, tally, i):
    """Expire: waits grow; who can no longer meet the deadline leaves; returns the expiry term."""
    term = 0.0
    kept = 0
    for row in range(servers.waiting[i]):
        servers.wait[i, row] += 1
        if servers.wait[i, row] > servers.slack[i, row]:
            term -= servers.weight[i, row]
            tally.weight[i] += servers.weight[i, row]
            tally.jobs[i, servers.job_class[i, row], EXPIRED] += 1
        else:
            if kept != row:
                _copy(servers, i, row, kept)
            kept += 1
    for row in range(kept, servers.waiting[i]):
        _clear(servers, i, row)
    servers.waiting[i] = kept
    return term


@inlined
def _admit(servers, tally, stream, cursor, slot, i):
    """Arrivals: this slot's jobs enter the buffer, a full one drops them; returns the drop term."""
    term = 0.0
    while cursor[i, 0] < cursor[i, 1] and stream.arrival[cursor[i, 0]] <= slot:
        j = cursor[i, 0]
        cursor[i, 0] += 1
        tally.jobs[i, stream.job_class[j], ARRIVED] += 1
        row = servers.waiting[i]
        if row == servers.execution.shape[1]:
            tally.jobs[i, stream.job_class[j], DROPPED] += 1
            tally.weight[i] += stream.weight[j]
            term -= stream.weight[j]
        else:
            for d in range(servers.used.shape[1]):
                servers.requirement[i, row, d] = stream.requirement[j, d]
            servers.execution[i, row] = stream.execution[j]
            servers.slack[i, row] = stream.slack[j]
            servers.wait[i, row] = 0
            servers.weight[i, row] = stream.weight[j]
            servers.job_class[i, row] = stream.job_class[j]
            servers.waiting[i] += 1
    return term


@kernel
def _request(servers, tally, rules, wanted, mask):
    for i in range(len(wanted)):
        if wanted[i] > 0 and servers.training[i] == 0:
            servers.training[i] = WAITING
            servers.training_kind[i] = wanted[i] - 1
            tally.requests[i] += 1
            tally.waiting_at_request[i] += servers.waiting[i]
            for d in range(servers.used.shape[1]):
                tally.used_at_request[i, d] += servers.used[i, d]
            _allow(servers, rules, i, mask)


@inlined
def _allow(servers, rules, i, mask):
    """Which actions are allowed now: jobs that fit, less what a training job holds back."""
    mask[i, :] = False
    mask[i, 0] = True
    training, kind = servers.training[i], servers.training_kind[i]
    nothing_starts = (rules.mode == PAUSE and training != 0) or (
        rules.mode == DRAIN and training == WAITING
    )
    if not nothing_starts:
        for row in range(servers.waiting[i]):
            mask[i, row + 1] = _fits(servers, rules, i, row, training > 0, kind)
            if training == WAITING:
                mask[i, row + 1] &= _backfills(servers, rules, i, row, kind)


@kernel
def _mask_with_training(servers, rules, mask, kind, flagged):
    for i in range(len(mask)):
        flagged[i, 0] = True
        for row in range(servers.waiting[i]):
            allowed = mask[i, row + 1]
            if servers.training[i] == 0:
                allowed &= rules.mode == BACKFILL and _backfills(servers, rules, i, row, kind)
            flagged[i, row + 1] = allowed


@inlined
def _measure_use(servers, rules, i, now):
    trains = servers.training[i] > 0
    is_empty = True
    for d in range(len(rules.capacity)):
        # Jobs that are frozen by a training job use nothing.
        units = 0 if trains and rules.mode == PAUSE else servers.used[i, d]
        if trains:
            units += rules.demand[servers.training_kind[i], d]
        now.units_in_use[i, d] = units
        is_empty &= units == 0
    now.is_empty[i] = is_empty
    now.is_idle[i] = is_empty and servers.waiting[i] == 0


@inlined
def _fits(servers, rules, i, row, beside_training, kind):
    for d in range(len(rules.capacity)):
        free = rules.capacity[d] - servers.used[i, d]
        if beside_training:
            free -= rules.demand[kind, d]
        if servers.requirement[i, row, d] > free:
            return False
    return True


@inlined
def _backfills(servers, rules, i, row, kind):
    """Reconstructed: may this job start while a training job waits, without delaying it?"""
    if servers.clock[i] + servers.execution[i, row] > servers.last_end[i]:
        return False
    if not _demand_is_free(servers, rules, i, kind):
        return True
    return _fits(servers, rules, i, row, True, kind)


@inlined
def _demand_is_free(servers, rules, i, kind):
    for d in range(len(rules.capacity)):
        if servers.used[i, d] + rules.demand[kind, d] > rules.capacity[d]:
            return False
    return True


@inlined
def _remove(servers, i, row):
    for later in range(row + 1, servers.waiting[i]):
        _copy(servers, i, later, later - 1)
    servers.waiting[i] -= 1
    _clear(servers, i, servers.waiting[i])


@inlined
def _copy(servers, i, source, target):
    for d in range(servers.used.shape[1]):
        servers.requirement[i, target, d] = servers.requirement[i, source, d]
    servers.execution[i, target] = servers.execution[i, source]
    servers.slack[i, target] = servers.slack[i, source]
    servers.wait[i, target] = servers.wait[i, source]
    servers.weight[i, target] = servers.weight[i, source]
    servers.job_class[i, target] = servers.job_class[i, source]


@inlined
def _clear(servers, i, row):
    """Empty rows hold zeros, so that observations need no second look at `waiting`."""
    for d in range(servers.used.shape[1]):
        servers.requirement[i, row, d] = 0
    servers.execution[i, row] = 0
    servers.slack[i, row] = 0
    servers.wait[i, row] = 0
    servers.weight[i, row] = 0.0
    servers.job_class[i, row] = 0
