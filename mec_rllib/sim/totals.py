"""What happened, summed over servers: the figures that every row and curve is made of."""

from dataclasses import astuple, dataclass, fields
from typing import Any, Self

import numpy as np

from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import ARRIVED, DROPPED, EXPIRED, STARTED


@dataclass
class Sums:
    """Base of sums over slots: those of a later moment minus those of an earlier are a window."""

    slots: Ints  # () slots of all servers together
    training_slots: Ints  # () slots in which a training job ran
    training_jobs: Ints  # () completed

    @property
    def mean_reward(self) -> float:
        """What the experiment is about."""
        raise NotImplementedError

    @property
    def miss_rate(self) -> float:
        """Share of what was to be served and was not; NaN where there is no such thing."""
        return float("nan")

    @property
    def miss_rates(self) -> list[float]:
        """The miss rate of each class of what was to be served."""
        return []

    def counts(self) -> dict[str, int | None]:
        """The counts of a row of `summary.json`."""
        raise NotImplementedError

    def shares(self) -> dict[str, float]:
        """Means over the slots: training, blocked by a training job, units held, jobs waiting."""
        raise NotImplementedError

    def at_training(self) -> dict[str, float]:
        """Share of the units held by user jobs and jobs waiting, when training was asked for."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists; `from_json` reads them back exactly."""
        return {f.name: np.asarray(getattr(self, f.name)).tolist() for f in fields(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(**{name: np.asarray(value) for name, value in values.items()})

    def __add__(self, other: Self) -> Self:
        return type(self)(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass
class Totals(Sums):
    """What MEC servers did."""

    jobs: Ints  # (classes, 4) arrived, started, expired, dropped
    waiting: Ints  # (classes,) jobs in buffers now
    reward: Floats  # (3,) start, expiry and drop terms, not scaled
    weight: Floats  # () weight of the resolved jobs
    blocked_slots: Ints  # () slots in which a training job waited for its demand
    used_share: Floats  # (D,) share of the capacity held by running user jobs, summed over slots
    waiting_slots: Ints  # () jobs in the buffer, summed over slots
    requests: Ints  # () training jobs inserted
    used_share_at_request: Floats  # (D,) as used_share, but summed over the requests
    waiting_at_request: Ints  # () jobs in the buffer, summed over the requests
    training_jobs_of_kinds: Ints  # (J,) completed, by kind

    @classmethod
    def of(cls, batch: ServerBatch) -> "Totals":
        """The totals of a batch since its reset."""
        tally, servers = batch.tally, batch.servers
        present = np.arange(batch.buffer) < servers.waiting[:, None]
        waiting = np.bincount(servers.job_class[present], minlength=tally.jobs.shape[1])
        return cls(
            slots=tally.slots.sum(),
            training_slots=tally.training_slots.sum(),
            training_jobs=tally.training_jobs.sum(),
            jobs=tally.jobs.sum(axis=0),
            waiting=waiting,
            reward=tally.reward.sum(axis=0),
            weight=tally.weight.sum(),
            blocked_slots=tally.blocked_slots.sum(),
            used_share=tally.used.sum(axis=0) / batch.rules.capacity,
            waiting_slots=tally.waiting.sum(),
            requests=tally.requests.sum(),
            used_share_at_request=tally.used_at_request.sum(axis=0) / batch.rules.capacity,
            waiting_at_request=tally.waiting_at_request.sum(),
            training_jobs_of_kinds=tally.training_jobs.sum(axis=0),
        )

    @property
    def mean_reward(self) -> float:
        """R = sum(w * u) / sum(w) over resolved jobs, in [-1, 1]; NaN if none was resolved."""
        return float(self.reward.sum() / self.weight) if self.weight > 0 else float("nan")

    @property
    def miss_rate(self) -> float:
        """Share of the resolved jobs that expired or were dropped; NaN if none was resolved."""
        return _miss_rate(self.jobs.sum(axis=0))

    @property
    def miss_rates(self) -> list[float]:
        """The miss rate of each class."""
        return [_miss_rate(counts) for counts in self.jobs]

    def counts(self) -> dict[str, int | None]:
        """The job counts of a row of `summary.json`."""
        return {
            "jobs_arrived": int(self.jobs[:, ARRIVED].sum()),
            "jobs_started": int(self.jobs[:, STARTED].sum()),
            "jobs_expired": int(self.jobs[:, EXPIRED].sum()),
            "jobs_dropped": int(self.jobs[:, DROPPED].sum()),
            "jobs_waiting": int(self.waiting.sum()),
        }

    def shares(self) -> dict[str, float]:
        """Means over the slots: training, blocked by a training job, units held, jobs waiting."""
        slots = max(int(self.slots), 1)
        return {
            "share_training": float(self.training_slots / slots),
            "share_blocked": float(self.blocked_slots / slots),
            "server_use": float(self.used_share.max() / slots),
            "queue": float(self.waiting_slots / slots),
        }

    def at_training(self) -> dict[str, float]:
        """Share of the units held by user jobs and jobs waiting, when training was asked for."""
        if not self.requests:
            return {"use_at_training": float("nan"), "queue_at_training": float("nan")}
        return {
            "use_at_training": float(self.used_share_at_request.max() / self.requests),
            "queue_at_training": float(self.waiting_at_request / self.requests),
        }


def _miss_rate(counts: Ints) -> float:
    missed = counts[EXPIRED] + counts[DROPPED]
    resolved = missed + counts[STARTED]
    return float(missed / resolved) if resolved else float("nan")


def world_figures(totals: Sums, before: Sums | None) -> dict[str, Any]:
    """Reward, misses and the server's use: over the lifetime, and since the last report."""
    window = totals - before if before is not None else totals
    return {
        "timesteps_total": int(totals.slots),
        "reward": {"lifetime": totals.mean_reward, "window": window.mean_reward},
        "miss_rate": {"lifetime": totals.miss_rate, "window": window.miss_rate},
        "server": window.shares() | window.at_training(),
        "share_training": totals.shares()["share_training"],
    }
