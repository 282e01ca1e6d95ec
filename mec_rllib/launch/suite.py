"""A suite from the first slot to the report: one experiment after the other."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from mec_rllib.config.study import Study
from mec_rllib.config.suite import Suite
from mec_rllib.errors import ConfigError
from mec_rllib.launch.cluster import Cluster
from mec_rllib.launch.launcher import Launcher, check_free, check_same, look_at_cluster
from mec_rllib.launch.stages import Stage
from mec_rllib.launch.stopping import CleanStop
from mec_rllib.locks import hold
from mec_rllib.results.claims import check_claims
from mec_rllib.results.folder import Folder, SuiteFolder
from mec_rllib.results.suite import read_config
from mec_rllib.trials.traces import tell_traces

Plans = Mapping[str, list[Stage]]


class SuiteLauncher:
    """Plays a suite in its folder, each experiment in a folder below; one Ray for all of them.

    Args:
        out: the folder.
        cluster: where it runs.
        console: for progress and tables.
        warn: is told what was passed over.
    """

    def __init__(self, out: Path, cluster: Cluster, console: Console, warn: Callable[[str], None]):
        self._out, self._folder = out, SuiteFolder(out)
        self._cluster, self._console, self._warn = cluster, console, warn
        self._stop = CleanStop()

    def begin(self, suite: Suite) -> list[str]:
        """Plays a new suite; returns a line per trial or experiment that failed.

        Raises:
            ConfigError: bad input; nothing is written then.
            KeyboardInterrupt: it was interrupted.
        """
        check_free(self._out)
        check_suite_claims(suite)
        plans = {}
        for label, study in suite.worlds.items():
            with _named(label):
                plans[label] = self._launcher(label).plan(study)
        studies = list(suite.worlds.values())
        look_at_cluster(self._cluster, studies, self._out, self._console)
        for note in suite.notes:
            self._warn(note)
        for study in studies:
            tell_traces(study, self._warn)
        for label, plan in plans.items():
            self._launcher(label).write(plan)
        self._folder.write(suite.to_config())
        return self._play(plans, go_on=False)

    def go_on(self, same: Suite | None = None) -> list[str]:
        """Plays what is left of the suite in the folder; see `begin`.

        Args:
            same: what it must be; None takes whatever is there.
        """
        begun = read_config(self._folder)
        if same is not None:
            check_same(begun, same.to_config(), self._out)
        plans = {}
        for world in begun["suite"]:
            label = world["label"]
            with _named(label):
                mine = None if same is None else same.worlds[label]
                plans[label] = self._launcher(label).plan_of_rest(mine)
        studies = [plan[-1].study for plan in plans.values()]
        look_at_cluster(self._cluster, studies, self._out, self._console)
        return self._play(plans, go_on=True)

    def _launcher(self, label: str) -> Launcher:
        """One Ray for all: the cluster has been looked at, and they stop together."""
        folder = self._folder.world(label).path
        return Launcher(folder, self._cluster, self._console, self._warn, self._stop)

    def _play(self, plans: Plans, go_on: bool) -> list[str]:
        failures: list[str] = []
        with hold(self._out):
            for k, (label, plan) in enumerate(plans.items(), 1):
                self._stop.check()
                self._console.print(f"{label} ({k} of {len(plans)})", highlight=False)
                try:
                    failed = self._launcher(label).run(plan, go_on)
                except (ConfigError, RuntimeError, OSError) as error:  # the others can still go on
                    failed = [str(error)]
                failures += [f"{label}: {line}" for line in failed]
        from mec_rllib.results.report import report_suite  # loads what draws pictures

        report_suite(self._out, self._console)
        return failures


def launch(
    what: Study | Suite, out: Path, address: str | None = None, resume: bool = False
) -> list[str]:
    """Plays a study or a suite through Ray Tune; returns a line per trial that failed.

    Args:
        what: to play.
        out: folder for everything that the run writes.
        address: of a Ray cluster; None: a local Ray.
        resume: go on with what is in `out`, if it was begun there.

    Raises:
        ConfigError: bad input; nothing is written then.
    """
    warn = lambda line: print(line, file=sys.stderr)  # noqa: E731
    where = out, Cluster(address), Console(markup=False), warn
    if isinstance(what, Suite):
        suites = SuiteLauncher(*where)
        is_begun = resume and SuiteFolder(out).is_begun
        return suites.go_on(what) if is_begun else suites.begin(what)
    launcher = Launcher(*where)
    return launcher.go_on(what) if resume and Folder(out).is_begun else launcher.begin(what)


def check_suite_claims(suite: Suite) -> None:
    """Raises ConfigError if a claim is about what one of the experiments does not have."""
    claims = [claim.model_dump() for claim in suite.claims]
    for label, strategies in suite.written.items():
        with _named(label):
            check_claims(claims, strategies)


@contextmanager
def _named(label: str) -> Iterator[None]:
    """Bad input in here is that of an experiment with this label."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from None
