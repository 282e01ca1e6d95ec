"""`mec-rllib check`: an experiment resolved, built and played for a moment; nothing is written."""

from collections.abc import Iterator

from mec_rllib.config.study import Study
from mec_rllib.config.suite import Suite
from mec_rllib.errors import ConfigError
from mec_rllib.launch.search.search import check_search
from mec_rllib.launch.stages import stages
from mec_rllib.results.folder import Folder
from mec_rllib.trials.dry_run import SLOTS
from mec_rllib.trials.rehearsal import rehearse


def check(what: Study | Suite) -> Iterator[str]:
    """A line for every strategy that is fine, those of a pretraining first; no Ray is started.

    Raises:
        ConfigError: what would fail in a trial; at the first strategy that it is true of.
    """
    if not isinstance(what, Suite):
        yield from _check(what)
        return
    for label, study in what.worlds.items():
        try:
            for line in _check(study):
                yield f"{label}: {line}"
        except ConfigError as error:
            raise ConfigError(f"{label}: {error}") from None


def _check(study: Study) -> Iterator[str]:
    plan = stages(study, Folder("."))  # every strategy for some slots, without its network
    if study.experiment.search is not None:
        check_search(study)
    for stage in plan:
        before = "" if stage is plan[-1] else "pretraining: "
        for strategy in stage.study.strategies:
            done = rehearse(strategy) if strategy.learns else f"{SLOTS} slots of each server"
            yield f"{before}{strategy.label}: fine ({done})"
