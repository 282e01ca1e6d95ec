"""All trials of a study in this process, one after the other, without Tune.

The folder that they leave is that of any experiment: it can be reported, and its policies loaded.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from mec_rllib.config.study import Strategy, Study
from mec_rllib.errors import ConfigError
from mec_rllib.files import finite, write_whole
from mec_rllib.locks import hold
from mec_rllib.results.folder import Folder, TrialFolder
from mec_rllib.results.stored import read_reports
from mec_rllib.trials.begin import begin
from mec_rllib.trials.check import check_study
from mec_rllib.trials.checkpoints import write_checkpoint
from mec_rllib.trials.runs import start_run
from mec_rllib.trials.traces import check_traces
from mec_rllib.trials.trial import Trial, origin

OnReport = Callable[[str, dict[str, Any]], None]


def play_here(study: Study, folder: Folder, on_report: OnReport | None = None) -> None:
    """Plays what is not finished; each trial leaves its reports and its policy.

    Args:
        study: what to play.
        folder: where; of this study, or new.
        on_report: is told every report, with the name of its trial.

    Raises:
        ConfigError: what would fail at the start of a trial, or a study that needs Tune.
    """
    for key in ("search", "pretrain"):
        if getattr(study.experiment, key) is not None:
            raise ConfigError(f"{key}: is played by Tune only; use run() in place of run_here()")
    check_study(study)
    if not folder.is_begun:
        begin(study, folder)
    check_traces(study.strategies, folder)
    with hold(folder.path):
        for strategy, seed in study.trials:
            trial = folder.trial(strategy.label, seed)
            reports = read_reports(trial.results)
            if not (reports and "row" in reports[-1]):
                _play(strategy, seed, trial, on_report)


def _play(strategy: Strategy, seed: int, folder: TrialFolder, on_report: OnReport | None) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    write_whole(folder.results, "")
    trial = Trial(strategy.label, seed, strategy.experiment, start_run(strategy, seed))
    try:
        while not trial.is_done:
            report = trial.play_report() | {"timestamp": time.time()}
            line = finite(report | {"training_iteration": trial.reports})
            with folder.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if on_report is not None:
                on_report(folder.name, report)
        write_checkpoint(folder, trial.reports, trial.save, origin(strategy, seed), keep=1)
    finally:
        trial.run.stop()
