"""Which sample of a search wins, and whether it is better than the others at all."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from mec_rllib.config.study import Strategy
from mec_rllib.launch.search.log import METRIC
from mec_rllib.results.stats import all_equal


class Winner(NamedTuple):
    """The sample that is taken, and the names of those that are as good: itself at least."""

    sample: dict[str, Any]
    ties: list[str]

    @property
    def note(self) -> str:
        """What a reader has to know about a tie; empty where there is none."""
        if len(self.ties) < 2:
            return ""
        return (
            f"{len(self.ties)} samples tie at R {self.sample[METRIC]:.6g}, with other values each: "
            f"between them the search decides nothing; {self.sample['name']} is taken"
        )


def pick_winner(
    untuned: Strategy, samples: Sequence[tuple[dict[str, Any], Strategy]]
) -> Winner | None:
    """The sample with the highest R; of equal ones the untuned one, else the first tried.

    Args:
        untuned: the strategy as the config has it.
        samples: what was tried, each with the strategy that its values make.
    """
    complete = [
        (sample, strategy)
        for sample, strategy in samples
        if sample["is_complete"] and not sample["error"] and sample[METRIC] is not None
    ]
    if not complete:
        return None
    best = max(sample[METRIC] for sample, _ in complete)
    equal = [(s, strategy) for s, strategy in complete if all_equal([s[METRIC], best])]
    differing: list[dict[str, Any]] = []  # samples that were drawn twice are no tie
    for sample, _ in equal:
        if sample["values"] not in [other["values"] for other in differing]:
            differing.append(sample)
    as_before = [sample for sample, strategy in equal if _settings(strategy) == _settings(untuned)]
    return Winner((as_before or differing)[0], [sample["name"] for sample in differing])


def _settings(strategy: Strategy) -> tuple[Any, ...]:
    """All that makes a strategy but its label; what a rule is not told has its default."""
    rule = strategy.gate or strategy.scheduler
    assert rule is not None
    defaults = {name: p.default for name, p in inspect.signature(rule).parameters.items()}
    identity = strategy.identity
    args = defaults | dict(strategy.args)
    return identity["class"], args, strategy.updates_per_job, identity["config"]
