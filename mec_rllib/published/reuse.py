"""A trial that another experiment has played already is not played again.

Many experiments hold the same strategy with the same seeds, and a new strategy in an experiment
changes none of the others. What a trial comes to depends on its strategy, its seed and this code
alone, so its reports are taken over, under the label that it has here.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mec_rllib.behaviour import BEHAVIOUR_VERSION
from mec_rllib.config.study import Study
from mec_rllib.files import write_whole
from mec_rllib.published.identity import is_same
from mec_rllib.results.folder import Folder, TrialFolder
from mec_rllib.results.stored import read_reports
from mec_rllib.trials.begin import begin


def take_over(study: Study, folder: Folder, runs: Path) -> int:
    """Begins an experiment with the finished trials that are there; returns how many.

    None where a policy is searched or trained before, or a trace is played: these are not in a
    strategy alone.

    Args:
        study: to begin.
        folder: of it, not begun yet.
        runs: where other experiments lie, each with NAME.json beside it.
    """
    experiment = study.experiment
    plays_trace = any(s.experiment.env.played_trace is not None for s in study.strategies)
    if experiment.search is not None or experiment.pretrain is not None or plays_trace:
        return 0
    found = dict(_finished(study, folder, runs))
    if found:
        begin(study, folder)
    for trial, reports in found.items():
        trial.path.mkdir(parents=True, exist_ok=True)
        write_whole(trial.results, "".join(json.dumps(report) + "\n" for report in reports))
    return len(found)


def _finished(
    study: Study, folder: Folder, runs: Path
) -> Iterator[tuple[TrialFolder, list[dict[str, Any]]]]:
    """Trials of this experiment with the reports that another one has of them."""
    for path in sorted(runs.glob("*.json")):
        written, other = json.loads(path.read_text(encoding="utf-8")), Folder(path.with_suffix(""))
        if written["behaviour"] != BEHAVIOUR_VERSION or other.path == folder.path:
            continue
        for there, here in _same_strategies(written["identity"], study):
            for seed in study.experiment.seeds:
                reports = read_reports(other.trial(there, seed).results)
                if reports and "row" in reports[-1]:
                    row = reports[-1]["row"] | {"strategy": here}
                    yield folder.trial(here, seed), [*reports[:-1], reports[-1] | {"row": row}]


def _same_strategies(written: Mapping[str, Any], study: Study) -> Iterator[tuple[str, str]]:
    """Labels there and here of what is the same strategy."""
    for strategy in study.strategies:
        for label, identity in written["strategies"].items():
            if is_same(identity, strategy):
                yield label, strategy.label
