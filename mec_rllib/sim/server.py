"""A batch of N independent servers: `ServerBatch` owns their tables and feeds them jobs.

The slot itself, beat by beat, is in `slot`.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from mec_rllib.sim import slot
from mec_rllib.sim.arrivals import Arrivals
from mec_rllib.sim.jobs import Bools, Floats, Ints, Jobs
from mec_rllib.sim.recorded import silent
from mec_rllib.sim.slot import WAITING, Field, Now, Rules, Servers, Tally
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.training_jobs import NO_KIND, kinds_wanted
from mec_rllib.sim.workload_check import check_workload, checked_jobs
from mec_rllib.sim.workloads import Workload, of_seed

TrainingMode = Literal["drain", "backfill", "pause"]  # in the order of Rules.mode

# Jobs are drawn for so many slots at once. Part of what a seed means: changing it changes streams.
CHUNK_SLOTS = 1024
# A workload that fails is asked again; after so many times in a row it is not.
WORKLOAD_ATTEMPTS = 10


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
        first_index: index of the first server; index k has a stream of jobs of its own.

    Raises:
        ValueError: a parameter out of its range, or a workload that lacks something.
        WrongAnswerError: what the workload answers is no table of jobs.
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
        check_workload(workload)
        self._described = workload
        self.num_servers = num_servers
        self.buffer = buffer
        self.first_index = first_index
        self.reward_scale = workload.max_weight  # rewards are divided by it for the learner
        capacity = np.array(workload.capacity, np.int64)
        self.kind_costs = shares * durations
        self.rules = Rules(
            capacity,
            # As for requirements of a trace: 0.3 * 10 must not ask for a fourth unit.
            np.ceil(shares[:, None] * capacity - 1e-9).astype(np.int64),
            durations.astype(np.int64),
            get_args(TrainingMode).index(mode),
        )
        self.recording = False  # whether somebody asks for `take_arrivals`
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Empties every server, clears the tallies and plays the arrivals of slot 0."""
        # Long, for each array has a line of its own.
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
        self._told_until = 0  # slot; of the arrivals before, `take_arrivals` has told
        self._left: list[tuple[int, Jobs]] = []  # to be told, of chunks played to their end
        self.workload_faults = 0  # times that the workload failed and was asked again
        self.now = Now(
            mask=np.zeros((n, m + 1), bool),
            units_in_use=zeros(d),
            is_empty=np.zeros(n, bool),
            is_idle=np.zeros(n, bool),
            reward_terms=np.zeros((n, 3)),
            rewards=np.zeros(n),
            completed=np.full(n, NO_KIND),
        )
        self.mask, self.units_in_use, self.is_empty, self.is_idle = self.now[:4]
        self.reward_terms, self.rewards, self.completed = self.now[4:]
        self.rngs = [generator(seed, Purpose.ARRIVALS, self.first_index + i) for i in range(n)]
        self._draw_chunk(0)
        slot.open_first_slot(self.servers, self.tally, self._stream, self._cursor)
        self.refresh()

    def refresh(self) -> None:
        """Takes a new look at the servers, after their state has been written from outside."""
        slot.refresh(self.servers, self.now, self.rules)

    def request_training(self, wanted: Bools | Ints) -> None:
        """Gate: inserts a training job where wanted (N,) and none is waiting or running.

        Args:
            wanted: kind of the job, 0..J-1, or -1 for none; of booleans, True is kind 0.

        Raises:
            ValueError: a kind that is not there.
        """
        kinds = kinds_wanted(wanted)
        for kind in (kinds.min(), kinds.max()):
            if not NO_KIND <= kind < self.kinds:
                raise ValueError(f"training jobs have kinds 0..{self.kinds - 1}, not {kind}")
        slot.insert_training(self.servers, self.tally, self.rules, kinds, self.mask)

    @property
    def field(self) -> Field:
        """All tables, for compiled code that plays the servers itself."""
        return Field(
            servers=self.servers,
            tally=self.tally,
            now=self.now,
            rules=self.rules,
            stream=self._stream,
            cursor=self._cursor,
        )

    def arrived(self, index: int) -> Jobs:
        """The jobs that have come to a server since slot `drawn_from`, admitted or dropped.

        Nothing of what is drawn ahead. From slot `drawn_from` on only: whoever keeps a log looks
        once in each slot, or at least before `slots_ahead` draws on.
        """
        begin = self._cursor[index - 1, 1] if index else 0
        return self._stream.take(slice(begin, self._cursor[index, 0]))

    @property
    def drawn_from(self) -> int:
        """The first slot whose jobs `arrived` still knows."""
        return self._drawn_until - CHUNK_SLOTS

    def slots_ahead(self) -> int:
        """Slots that `field` can be played with the jobs drawn, at least 1."""
        if self.slot + 1 == self._drawn_until:
            self._draw_chunk(self.slot + 1)
        return self._drawn_until - self.slot - 1

    def take_arrivals(self) -> Arrivals:
        """What has arrived since this was asked last, or since the start; `recording` must be on.

        Nothing of what will arrive, although it may be drawn already.
        """
        parts = [*self._left, *self._untold(self._cursor[:, 0])]
        jobs = Jobs.concatenate([part for _, part in parts])
        servers = np.repeat([i for i, _ in parts], [len(part.arrival) for _, part in parts])
        slots, together = self.slot + 1 - self._told_until, jobs.arrival - self._told_until
        counts = np.bincount(
            together * self.num_servers + servers, minlength=slots * self.num_servers
        )
        self._told_until, self._left = self.slot + 1, []
        return Arrivals(jobs.take(np.lexsort((servers, jobs.arrival))), counts)

    def _untold(self, ends: Ints) -> list[tuple[int, Jobs]]:
        """Of the jobs drawn, those before `ends` (N,) that nobody was told of, by server."""
        begins = np.concatenate(([0], self._cursor[:-1, 1]))
        parts = []
        for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            told = np.searchsorted(self._stream.arrival[begin:end], self._told_until)
            parts.append((i, self._stream.take(slice(begin + told, end))))
        return parts

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
            self._draw_chunk(self.slot)
        slot.play_slot(
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
        flagged = np.empty_like(self.mask)
        slot.mask_with_training(self.servers, self.rules, self.mask, kind, flagged)
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
            "told_until": self._told_until,
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
        self._told_until, self._left = state["told_until"], []
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

    def without_arrivals(self, num_servers: int) -> "ServerBatch":
        """Empty servers of the same kind, on which no job arrives unless somebody hands one in."""
        empty = ServerBatch(silent(self.workload), num_servers, self.buffer)
        empty.rules = self.rules
        empty.reset(seed=0)  # as many kinds of training jobs
        return empty

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
    def use(self) -> Floats:
        """(N,) share of the units in use, of the resource kind that is used most."""
        used: Floats = (self.units_in_use / self.rules.capacity).max(axis=1)
        return used

    @property
    def queue(self) -> Ints:
        """(N,) jobs that wait."""
        return self.servers.waiting

    @property
    def since_training(self) -> Ints:
        """(N,) slots since the last training job completed (or since slot 0)."""
        return self.servers.since_training

    @property
    def since_kind(self) -> Ints:
        """(N, J) slots since the last training job of each kind completed (or since slot 0)."""
        return self.servers.since_kind

    def _draw_chunk(self, start: int) -> None:
        """The jobs that arrive from this slot on."""
        if self.recording and start > 0:
            self._left += self._untold(self._cursor[:, 1])
        tables = [self._arrivals(rng, start) for rng in self.rngs]
        self._drawn_until = start + CHUNK_SLOTS
        ends = np.cumsum([len(table.arrival) for table in tables])
        self._stream = Jobs.concatenate(tables)
        self._cursor = np.stack([np.concatenate(([0], ends[:-1])), ends], axis=1)

    def _arrivals(self, rng: np.random.Generator, start: int) -> Jobs:
        """The next jobs of a server. A fault of the workload leaves no trace but a count."""
        stop = start + CHUNK_SLOTS
        jobs = self._asked(rng, start, stop)
        if type(self.workload).__module__.startswith("mec_rllib."):
            return jobs  # a look costs 2 % of the time of a slot: at what users bring only
        return checked_jobs(jobs, self.workload, start, stop)

    def _asked(self, rng: np.random.Generator, start: int, stop: int) -> Any:
        before = rng.bit_generator.state
        for attempt in range(1, WORKLOAD_ATTEMPTS + 1):
            try:
                return self.workload.arrivals(rng, start, stop)
            except Exception as error:
                rng.bit_generator.state = before
                if attempt == WORKLOAD_ATTEMPTS:
                    raise RuntimeError(
                        f"the workload failed {attempt} times in a row at slot {start}: "
                        f"{type(error).__name__}: {error}"
                    ) from error
                self.workload_faults += 1
        raise AssertionError("unreachable")
