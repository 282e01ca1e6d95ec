"""The verbs that play: each only reads its arguments and calls the one that does it."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mec_rllib.cli.shared import (
    PATH,
    Address,
    Config,
    Dashboard,
    Out,
    Resume,
    Sets,
    app,
    as_path,
    console,
    fail,
    warn,
)
from mec_rllib.errors import ConfigError
from mec_rllib.paths import command

if TYPE_CHECKING:
    from mec_rllib.config.study import Study
    from mec_rllib.config.suite import Suite


@app.command()
def train(
    config: Config,
    out: Out,
    set_: Sets = None,
    resume_: Resume = False,
    dashboard: Dashboard = False,
) -> None:
    """Train one agent: the first strategy of the config with its first seed.

    Example: mec-rllib train demo --set gate.period=200 --out runs/ats
    """
    from mec_rllib.config.study_file import load_study

    study = load_study(config, set_ or [])
    _begin(study.first, out, None, dashboard, resume_)


@app.command()
def tune(
    config: Config,
    out: Out,
    set_: Sets = None,
    address: Address = None,
    resume_: Resume = False,
    dashboard: Dashboard = False,
) -> None:
    """Run an experiment, strategies x seeds, through Ray Tune; or a suite of experiments.

    A suite plays each of its experiments into a folder of its own, one after the other.

    Example: mec-rllib tune demo --set seeds=[0,1,2] --out runs/three
    """
    from mec_rllib.config.suite import load_config

    _begin(load_config(config, set_ or []), out, address, dashboard, resume_)


@app.command()
def resume(
    folder: Annotated[
        Path, typer.Argument(help="folder of a train or tune that was interrupted", parser=as_path)
    ],
    address: Address = None,
    dashboard: Dashboard = False,
) -> None:
    """Go on with a train or tune that was interrupted or killed, or whose trials failed.

    Finished trials stay; the others go on from their newest checkpoint that is not damaged. The
    checkpoint of an unfinished trial is loaded with pickle: resume only folders that you trust.

    Example: mec-rllib resume runs/demo
    """
    from mec_rllib.results.folder import SuiteFolder

    is_suite = SuiteFolder(folder).is_begun
    _run(folder, _launcher(folder, address, dashboard, is_suite).go_on)


@app.command()
def check(config: Config, set_: Sets = None) -> None:
    """Try a config: a few slots and an update of every strategy, in this process, without Ray.

    A line for every strategy that is fine. Otherwise one line that says what is wrong, with file
    and line where it is in code of yours, and exit code 2. Nothing is written.

    Example: mec-rllib check mine.yaml --set env.load=0.6
    """
    from mec_rllib.config.suite import load_config

    what = load_config(config, set_ or [])
    from mec_rllib.launch.rehearsal import check as rehearse

    for line in rehearse(what):
        print(line, flush=True)


@app.command()
def evaluate(
    config: Annotated[Path, typer.Option(help="config file: the environment to play", **PATH)],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="a checkpoint, or the folder of a trial that has one", **PATH),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="a scheduler: sjf, reservation, my_package.rules:Mine")
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="take an RLlib checkpoint; code that is in it runs"),
    ] = False,
    set_: Sets = None,
    slots: Annotated[int | None, typer.Option(help="slots per seed; default: the config's")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="for example 0,1,2; default: the config's")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Play a trained policy, greedily and without training, or a scheduler.

    Example: mec-rllib evaluate --scheduler sjf --config demo --seeds 0,1,2
    """
    # Long, for most of it are the options.
    from mec_rllib.config.load import load

    overrides = list(set_ or [])
    overrides += [f"slots={slots}"] if slots is not None else []
    overrides += [f"seeds=[{seeds}]"] if seeds is not None else []
    experiment = load(config, overrides)
    if (checkpoint is None) == (scheduler is None):
        raise ConfigError("evaluate: needs either --checkpoint or --scheduler")
    from mec_rllib.files import finite
    from mec_rllib.launch.reporting.progress import ExperimentProgress
    from mec_rllib.results.report import print_rows
    from mec_rllib.results.traces import without_jobs
    from mec_rllib.trials.dry_run import users_faults
    from mec_rllib.trials.evaluate import policy_of, scheduler_of
    from mec_rllib.trials.traces import read_traces, tell_trace
    from mec_rllib.trials.trial import evaluate as played

    read_traces([experiment.env], warn)
    if scheduler is not None:
        label, builds = scheduler_of(experiment, scheduler)
    elif checkpoint is not None:
        label, builds = policy_of(experiment, checkpoint, allow_pickle)
    tell_trace(experiment.env, warn)
    # Progress goes to stderr: stdout is for the result.
    progress = ExperimentProgress(console(stderr=True), len(experiment.seeds), experiment.slots)
    with users_faults(label), progress:
        rows = played(label, experiment, builds, progress.show)
    for line in without_jobs(rows):
        warn(line)
    if json_:
        print(json.dumps(finite({"rows": rows})))
    else:
        print_rows(rows, console())


@app.command()
def shadow(
    config: Config,
    log: Annotated[
        Path, typer.Option(help="jobs that have arrived: a trace, as env.trace.path takes", **PATH)
    ],
    checkpoint: Annotated[
        Path | None, typer.Option(help="a policy to judge, too: a checkpoint or a trial", **PATH)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="new file for the best rule (YAML)", **PATH)
    ] = None,
    window: Annotated[
        int, typer.Option(min=1, help="slots that shadow looks back; the log needs two of them")
    ] = 15_000,
    candidates: Annotated[
        int, typer.Option(min=4, help="rules that are tried on the first half of the log")
    ] = 960,
    set_: Sets = None,
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Say what rules would have earned on jobs that really arrived, and which rule is best.

    A rule is looked for in the first half of the log; all are judged on the second one, with
    intervals over ten blocks of time. The best rule is printed as strategies: takes it.

    Example: mec-rllib shadow mine.yaml --log jobs.csv --checkpoint runs/mine --out rule.yaml
    """
    from mec_rllib.files import finite
    from mec_rllib.results.report.judged import print_judged
    from mec_rllib.trials.shadow import judge, logged, new_file
    from mec_rllib.trials.traces import read_traces, tell_trace

    if out is not None:
        new_file(out)
    experiment = logged(config, log, list(set_ or []))
    read_traces([experiment.env], warn)
    tell_trace(experiment.env, warn)
    verdict = judge(experiment, window, candidates, checkpoint)
    if out is not None:
        out.write_text(verdict.to_yaml(), encoding="utf-8")
    if json_:
        print(json.dumps(finite(verdict.to_json())))
    else:
        print_judged(verdict.to_json()["rows"], verdict.to_yaml(), console())


def _run(out: Path, run: "Callable[[], list[str]]") -> None:
    go_on = f"go on with: {command('mec-rllib', 'resume', out)}"
    try:
        failures = run()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # while Ray ends: it would leave a traceback
        fail(f"interrupted; {go_on}", 130)
    except (RuntimeError, OSError) as error:
        fail(f"{error}; what is finished is kept, {go_on}", 1)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    if failures:
        print(f"mec-rllib: {go_on}", file=sys.stderr)
        raise typer.Exit(1)


def _launcher(out: Path, address: str | None, dashboard: bool, is_suite: bool) -> Any:
    """Who plays the experiment or the suite in a folder: both have `begin` and `go_on`."""
    from mec_rllib.launch import listen_here_only

    if address is None:
        listen_here_only()
    from mec_rllib.launch.cluster import Cluster
    from mec_rllib.launch.launcher import Launcher
    from mec_rllib.launch.suite import SuiteLauncher

    kind = SuiteLauncher if is_suite else Launcher
    return kind(out, Cluster(address, dashboard), console(), warn)


def _begin(
    what: "Study | Suite", out: Path, address: str | None, dashboard: bool, go_on: bool
) -> None:
    from mec_rllib.config.suite import Suite
    from mec_rllib.results.folder import Folder, SuiteFolder

    is_suite = isinstance(what, Suite)
    launcher = _launcher(out, address, dashboard, is_suite)
    if go_on and (SuiteFolder(out) if is_suite else Folder(out)).is_begun:
        _run(out, lambda: launcher.go_on(what))
    else:
        _run(out, lambda: launcher.begin(what))
