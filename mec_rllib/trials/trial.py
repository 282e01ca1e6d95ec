"""One strategy with one seed from the first slot to its row, whoever decides and learns.

A trial plays its slots in about 100 reports, then evaluates what it has learned. No Ray in here.
"""

import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mec_rllib.config.experiment import Experiment
from mec_rllib.config.study import Strategy
from mec_rllib.envs.gym_world import GymBatch
from mec_rllib.envs.world import totals_from_json, totals_of
from mec_rllib.schedulers import Scheduler, run
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Sums, Totals
from mec_rllib.trials.runs import SchedulerRun, StrategyRun
from mec_rllib.trials.traces import sha256_of

REPORTS = 100  # per trial
TRIAL_FILE = "trial.json"  # in a checkpoint
LAST_SHARE = 0.2  # of the slots that `reward_last20` looks at
# The greedy evaluation must not see the jobs that the agent learned on.
EVALUATION_SEED = 2**31


class Trial:
    """Plays a strategy to the end, report by report, and sums it up in a row.

    Reports and row name the node they come from: the host's name, if no cluster gives another.
    """

    def __init__(
        self,
        label: str,
        seed: int,
        experiment: Experiment,
        strategy_run: StrategyRun,
        node: str | None = None,
    ):
        self.run, self._node = strategy_run, node or platform.node()
        self._label, self._seed, self._experiment = label, seed, experiment
        runners = experiment.runners
        servers = max(runners.num, 1) * runners.servers
        self._report_slots = math.ceil(experiment.slots / REPORTS / servers) * servers
        self._played = 0
        self._at_last: Sums | None = None
        self._last_report: dict[str, Any] | None = None
        self._started = time.perf_counter()

    @property
    def is_done(self) -> bool:
        """Whether all slots are played."""
        return self._played >= self._experiment.slots

    def play_report(self) -> dict[str, Any]:
        """Plays until the next report; the last one carries the row."""
        result = self.run.play(min(self._report_slots, self._experiment.slots - self._played))
        result["node"] = self._node
        before, self._played = self._played, int(self.run.totals.slots)
        interval = self._experiment.evaluation.interval
        if interval is not None and self._played // interval > before // interval:
            result["greedy"] = self._greedy_now()
        last_starts = (1.0 - LAST_SHARE) * self._experiment.slots
        if self._at_last is None and self._played >= last_starts:
            self._at_last = self.run.totals
        if self.is_done:
            result |= {"row": self._row(), "done": True}
        self._last_report = result
        return result

    def _greedy_now(self) -> dict[str, Any]:
        """What the policy is worth so far: always on the same jobs, and nothing is learned."""
        experiment, policy = self._experiment, self.run.policy()
        slots = experiment.evaluation.duration
        return {
            "slot": self._played,
            "reward": evaluate_greedy(experiment, policy, self._seed, slots),
        }

    def save(self, folder: Path) -> None:
        """Writes a checkpoint; of a finished trial the policy only."""
        at_last = self._at_last.to_json() if self._at_last is not None else None
        state = {
            "played": self._played,
            "at_last": at_last,
            "wall_s": self.wall_s,
            # Whoever keeps the reports may be killed before it has written this one.
            "last_report": self._last_report,
        }
        (folder / TRIAL_FILE).write_text(json.dumps(state), encoding="utf-8")
        self.run.save(folder, to_go_on=not self.is_done)

    def restore(self, folder: Path) -> None:
        """Goes on from what `save` of the same trial wrote before its end."""
        state = json.loads((folder / TRIAL_FILE).read_text(encoding="utf-8"))
        self._played = state["played"]
        self._at_last = totals_from_json(state["at_last"]) if state["at_last"] else None
        self._last_report = state["last_report"]
        self._started = time.perf_counter() - state["wall_s"]
        self.run.restore(folder, self._played)

    @property
    def wall_s(self) -> float:
        """Seconds that the trial has taken so far, without interruptions."""
        return time.perf_counter() - self._started

    @property
    def reports(self) -> int:
        """Reports made so far."""
        return math.ceil(self._played / self._report_slots)

    def _row(self) -> dict[str, Any]:
        totals = self.run.totals
        classes = self._experiment.env.class_names
        wall_s = self.wall_s
        window = totals - self._at_last if self._at_last is not None else totals
        return {
            "strategy": self._label,
            "seed": self._seed,
            "slots": int(totals.slots),
            "reward_lifetime": totals.mean_reward,
            "reward_last20": window.mean_reward,
            "reward_greedy": evaluate_greedy(self._experiment, self.run.policy(), self._seed),
            "miss_rate": totals.miss_rate,
            "miss_rate_by_class": dict(zip(classes, totals.miss_rates, strict=True)),
            **totals.shares(),
            **totals.at_training(),
            "training_jobs": int(totals.training_jobs),
            "learner_updates": self.run.learner_updates,
            **totals.counts(),
            **self._kinds_row(),
            **self._requests_row(),
            "wall_s": wall_s,
            "node": self._node,
        }

    def _requests_row(self) -> dict[str, Any]:
        """Requests to train, by reason, where the gate tells reasons apart."""
        requests = self.run.requests_by_reason
        return {"requests_by_reason": requests} if requests else {}

    def _kinds_row(self) -> dict[str, Any]:
        """Training jobs and updates by kind, where there are several."""
        names = [kind.name for kind in self._experiment.env.training_job]
        totals = self.run.totals
        if len(names) < 2 or not isinstance(totals, Totals):
            return {}
        jobs = totals.training_jobs_of_kinds.tolist()
        slots = [
            kind.slots / max(int(totals.slots), 1) for kind in self._experiment.env.training_job
        ]
        shares = [count * share for count, share in zip(jobs, slots, strict=True)]
        updates = self.run.updates_of_kinds or [0] * len(names)
        return {
            "training_jobs_by_kind": dict(zip(names, jobs, strict=True)),
            "share_training_by_kind": dict(zip(names, shares, strict=True)),
            "learner_updates_by_kind": dict(zip(names, updates, strict=True)),
        }


def origin(strategy: Strategy, seed: int) -> dict[str, Any]:
    """Whose a checkpoint is: what must be equal in a run that goes on from it."""
    trace = sha256_of(strategy.experiment.env)
    return {"strategy": strategy.label, "seed": seed, **strategy.identity, "trace": trace}


def evaluate_greedy(
    experiment: Experiment, policy: Scheduler, seed: int, slots: int | None = None
) -> float:
    """R of a policy that neither explores nor trains, on jobs it has not seen.

    Args:
        experiment: whose world and evaluation.
        policy: that is judged.
        seed: of the trial.
        slots: of all servers together; None: those of the evaluation at the end.
    """
    batch = evaluation_world(experiment, seed)
    slots = experiment.evaluation.slots if slots is None else slots
    run(batch, policy, math.ceil(slots / batch.num_servers))
    return totals_of(batch).mean_reward


def evaluation_world(experiment: Experiment, seed: int) -> ServerBatch | GymBatch:
    """Where a trained policy is judged.

    A trace is always the same, so it is replayed on one server; where the load follows a
    schedule, the policy is judged at the last load, and where worlds drift, in the last world.
    """
    runners = experiment.runners
    slots = experiment.slots // (max(runners.num, 1) * runners.servers)  # of each server
    env = experiment.env.at_the_end(slots, seed)
    servers = 1 if env.workload == "trace" else experiment.evaluation.servers
    return env.build_world(servers, EVALUATION_SEED + seed)


def evaluate(
    label: str,
    experiment: Experiment,
    scheduler_of: Callable[[int], Scheduler],
    on_report: Callable[[str, dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Rows of a scheduler or a trained policy, one per seed; `scheduler_of` a seed."""
    rows = []
    for seed in experiment.seeds:
        batch = experiment.env.build_world(experiment.runners.servers, seed)
        trial = Trial(label, seed, experiment, SchedulerRun(scheduler_of(seed), batch))
        while not trial.is_done:
            result = trial.play_report()
            on_report(f"{label}_seed{seed}", result)
        rows.append(result["row"])
    return rows
