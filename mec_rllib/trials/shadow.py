"""What rules, and a policy, would have earned on jobs that really arrived; and the best rule.

A rule is looked for in the first half of the log, and everybody is judged on the second one: who
is best where it was chosen is not the best elsewhere. Nothing is trained.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mec_rllib.config.experiment import Experiment
from mec_rllib.config.load import load, with_values
from mec_rllib.errors import ConfigError
from mec_rllib.results.stats import interval
from mec_rllib.schedulers import Index, Scheduler, Shadow, run
from mec_rllib.schedulers.candidates import BUILT_IN
from mec_rllib.schedulers.index_rule import COLUMNS
from mec_rllib.schedulers.rule_search import RuleSearch
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.traces.workload import TraceWorkload
from mec_rllib.trials.evaluate import policy_of
from mec_rllib.yaml_text import dump_yaml

BLOCKS = 10  # of the second half: intervals are over them
FOUND, SEARCHING = "found", "shadow"  # labels
DIGITS = 3  # of the numbers of a rule: it is judged as it is printed


@dataclass(frozen=True)
class Judged:
    """What somebody earned in each block of the second half."""

    label: str
    blocks: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The mean with its 95 % interval over the blocks."""
        found = interval(self.blocks)
        return {
            "strategy": self.label,
            "reward": found.mean,
            "ci95": [found.low, found.high],
            "blocks": list(self.blocks),
        }


@dataclass(frozen=True)
class Verdict:
    """Everybody, the best first; and the best rule, as `strategies:` takes it."""

    slots: int  # of the log
    judged: tuple[Judged, ...]
    recommended: str | dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        rows = [one.to_json() for one in self.judged]
        return {"slots": self.slots, "rows": rows, "recommended": self.recommended}

    def to_yaml(self) -> str:
        """The rule, to be pasted into `strategies:`."""
        return dump_yaml([self.recommended])


def logged(config: Path, log: Path, overrides: list[str]) -> Experiment:
    """The experiment of a config, on the jobs of a log: once, in the time that they took.

    What the config says of a trace holds; where it has none, time is not rescaled.

    Raises:
        ConfigError: a config without a server, or one that cannot be read.
    """
    experiment = load(config, overrides)
    if experiment.env.gym is not None:
        raise ConfigError(f"{config}: env.gym has no jobs, so no arrivals are stored")
    values: dict[str, Any] = {"env.workload": "trace", "env.workload_args": {}, "env.bursts": None}
    if experiment.env.trace is None:
        values["env.trace"] = {"path": str(log), "load": None}
    values |= {"env.trace.path": str(log), "env.trace.end": "stop"}
    return with_values(experiment, values, "--log")


def judge(
    experiment: Experiment,
    window: int,
    candidates: int,
    checkpoint: Path | None = None,
) -> Verdict:
    """Looks for a rule in the first half of a log, and judges everybody on the second one.

    Args:
        experiment: see `logged`.
        window: slots that the searching strategy looks back; the log must have two of them.
        candidates: rules that the search in the first half tries.
        checkpoint: of a policy that is judged, too.

    Raises:
        ConfigError: a log that is too short or cannot be played, or no policy in the checkpoint.
    """
    try:
        workload = experiment.env.build_workload()
    except ValueError as error:
        raise ConfigError(f"env: {error}") from None
    assert isinstance(workload, TraceWorkload)
    slots = workload.span
    if slots < 2 * window:
        raise ConfigError(
            f"--log {experiment.env.trace.path if experiment.env.trace else ''}: has {slots:,} "
            f"slots, two windows are {2 * window:,}; take a longer log, or --window {slots // 2}"
        )
    rule = _search(workload, experiment.env.buffer, slots // 2, candidates)
    rules: dict[str, Scheduler] = {FOUND: Index.of(rule), SEARCHING: Shadow(window=window)}
    rules |= {type(known).__name__.lower(): known for known in BUILT_IN}
    if checkpoint is not None:
        label, policy = policy_of(experiment, checkpoint)
        rules[label if label not in rules else f"policy-{label}"] = policy(0)
    judged = [_judge(experiment, label, rule, slots) for label, rule in rules.items()]
    ranked = sorted(judged, key=lambda one: -float(np.nanmean(one.blocks)))
    fixed = next(one.label for one in ranked if isinstance(rules[one.label], Index))
    return Verdict(slots, tuple(ranked), _strategy(fixed, rule))


def _search(workload: TraceWorkload, buffer: int, slots: int, candidates: int) -> Any:
    search = RuleSearch(workload, buffer, period=slots, window=slots, candidates=candidates)
    jobs = workload.arrivals(generator(0, Purpose.ARRIVALS), 0, slots)  # draws nothing
    search.log.observe(jobs, slots - 1)
    search.search()
    assert search.found is not None
    return search.found.round(DIGITS)


def _judge(experiment: Experiment, label: str, rule: Scheduler, slots: int) -> Judged:
    """Plays the log from its beginning; R of each block of its second half."""
    batch = experiment.env.build_servers(1)
    ends = np.linspace(slots // 2, slots, BLOCKS + 1).astype(int)
    sums = []
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        run(batch, rule, int(end - begin))
        sums.append((float(batch.tally.reward.sum()), float(batch.tally.weight.sum())))
    rewards, weights = np.diff(np.array(sums), axis=0).T
    resolved = np.maximum(weights, 1e-300)
    return Judged(label, tuple(np.where(weights > 0, rewards / resolved, np.nan).tolist()))


def _strategy(label: str, rule: Any) -> str | dict[str, Any]:
    if label != FOUND:
        return label
    keys = dict(zip(COLUMNS, rule.tolist(), strict=True))
    args = {key: value for key, value in keys.items() if value != 0.0 or "patience" in key}
    switches = {key: True for key in ("by_slack", "head") if keys[key]}
    return {"scheduler": "index", "label": FOUND, "args": args | switches}


def new_file(path: Path) -> None:
    """Raises ConfigError unless a file can be written there without touching another one."""
    if path.exists():
        raise ConfigError(f"--out {path}: exists already; name a new file")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {path}: there is no folder {path.parent}")
