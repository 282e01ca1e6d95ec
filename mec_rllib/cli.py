"""The verbs of the command line; each only reads its arguments and calls the one that does it."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from mec_rllib.errors import ConfigError
from mec_rllib.paths import command, path_of

if TYPE_CHECKING:
    from rich.console import Console

    from mec_rllib.config.study import Study
    from mec_rllib.config.suite import Suite

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _path(text: str) -> Path:
    try:
        return path_of(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


PATH: dict[str, Any] = {"parser": _path, "metavar": "PATH"}  # of an option
Config = Annotated[
    Path,
    typer.Argument(help="config file (YAML), or the name of a shipped one: demo", parser=_path),
]
Folder = Annotated[Path, typer.Argument(help="folder of an experiment", parser=_path)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a config key: --set env.load=0.6"),
]
Out = Annotated[Path, typer.Option(help="new folder for everything that the run writes", **PATH)]


Address = Annotated[
    str | None, typer.Option(help="a running Ray cluster (host:port or auto); default: local")
]
Dashboard = Annotated[
    bool, typer.Option("--dashboard", help="Ray's dashboard for the local Ray, on this machine")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="go on with what is in --out, if it was begun there")
]


def _tell_version(wanted: bool) -> None:
    if wanted:
        from mec_rllib import __version__

        print(f"mec-rllib {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_tell_version, help="say which, and end"),
    ] = False,
) -> None:
    """Edge servers whose scheduler learns while it works, and pays for learning."""


class _Formats(TyperGroup):
    """The formats of `mec-rllib import`, loaded when one is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        from mec_rllib.importers import IMPORTERS

        return list(IMPORTERS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from mec_rllib.importers.command import command_of
        from mec_rllib.lookup import nearest

        if cmd_name not in (formats := self.list_commands(ctx)):
            raise ConfigError(f"import: unknown format {cmd_name!r}; {nearest(cmd_name, formats)}")

        out = Annotated[Path, typer.Option(help=TRACE_FILE, **PATH)]
        files = Annotated[list[Path], typer.Argument(help="the log; several share a clock", **PATH)]
        return command_of(cmd_name, out, files)


TRACE_FILE = "the trace to write: .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz"
app.add_typer(
    typer.Typer(
        cls=_Formats,
        no_args_is_help=True,
        help="Turn a log into a trace (env.trace.path). Every assumption is an option with a "
        "default; the trace carries them. One line says what was left out or changed.\n\n"
        "Example: mec-rllib import swf log.swf --out jobs.parquet",
    ),
    name="import",
)


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
        Path, typer.Argument(help="folder of a train or tune that was interrupted", parser=_path)
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

    read_traces([experiment.env], _warn)
    if scheduler is not None:
        label, builds = scheduler_of(experiment, scheduler)
    elif checkpoint is not None:
        label, builds = policy_of(experiment, checkpoint, allow_pickle)
    tell_trace(experiment.env, _warn)
    # Progress goes to stderr: stdout is for the result.
    progress = ExperimentProgress(_console(stderr=True), len(experiment.seeds), experiment.slots)
    with users_faults(label), progress:
        rows = played(label, experiment, builds, progress.show)
    for line in without_jobs(rows):
        _warn(line)
    if json_:
        print(json.dumps(finite({"rows": rows})))
    else:
        print_rows(rows, _console())


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
    read_traces([experiment.env], _warn)
    tell_trace(experiment.env, _warn)
    verdict = judge(experiment, window, candidates, checkpoint)
    if out is not None:
        out.write_text(verdict.to_yaml(), encoding="utf-8")
    if json_:
        print(json.dumps(finite(verdict.to_json())))
    else:
        print_judged(verdict.to_json()["rows"], verdict.to_yaml(), _console())


@app.command()
def report(
    folder: Folder,
    baseline: Annotated[
        str | None, typer.Option(help="compare every strategy with this one, paired by seed")
    ] = None,
) -> None:
    """Tables, claims, gate health and pictures of an experiment, finished or still running.

    Of a suite: the report of each experiment, and one that shows them side by side.

    Example: mec-rllib report runs/demo --baseline ats
    """
    from mec_rllib.results import report as of
    from mec_rllib.results.folder import SuiteFolder

    show = of.report_whole_suite if SuiteFolder(folder).is_begun else of.report
    show(folder, _console(), baseline)


@app.command()
def probe(
    folder: Folder,
    strategy: Annotated[
        str | None, typer.Option(help="label of the only strategy; default: all that learn")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="slots between two looks")] = 50,
    futures: Annotated[
        int, typer.Option(min=2, help="futures that a training job is priced in")
    ] = 16,
    ahead: Annotated[int, typer.Option(min=1, help="slots that a future is played")] = 120,
) -> None:
    """Does psi know what a training job costs? Finished trials of gates, played again and priced.

    Every so many slots futures are played with a training job and without; psi, use and queue are
    compared with what the job took away. Of a trial nothing changes by it. The report shows it.

    Example: mec-rllib probe runs/llm --strategy psi
    """
    from mec_rllib.results.probe import probe_section
    from mec_rllib.results.report import print_section
    from mec_rllib.results.stored import read_study
    from mec_rllib.trials.probe import Terms
    from mec_rllib.trials.probe import probe as look

    look(folder, Terms(every, futures, ahead), strategy, _warn)
    print_section(probe_section(read_study(folder)), _console())


@app.command()
def status(
    folder: Folder,
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Say what runs, what is done, what failed and why, and how long it will take.

    Reads files only: it can be asked on any machine that sees the folder.

    Example: mec-rllib status runs/demo
    """
    from mec_rllib.files import finite
    from mec_rllib.results import status as of
    from mec_rllib.results.folder import SuiteFolder

    is_suite = SuiteFolder(folder).is_begun
    found = (of.suite_status if is_suite else of.status)(folder)
    if json_:
        print(json.dumps(finite(found)))
    else:
        (of.print_suite_status if is_suite else of.print_status)(found, folder, _console())


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(help="only these: configs, gates, schedulers, agents, traces, formats"),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Name the configs, gates, schedulers, agents, traces and formats, with a line each.

    Example: mec-rllib list gates
    """
    from mec_rllib.lookup import nearest
    from mec_rllib.reference.listing import listing, print_listing

    found = listing()
    if kind is not None and kind not in found:
        raise ConfigError(f"list: unknown kind {kind!r}; {nearest(kind, found)}")
    shown = {kind: found[kind]} if kind is not None else found
    if json_:
        print(json.dumps(shown))
        return
    print_listing(shown, _console())


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="a new folder", parser=_path, metavar="DIR")],
) -> None:
    """Write a project to start from: a gate, a rule, a workload, a config and a test that run.

    Example: mec-rllib init my_project
    """
    from mec_rllib.project import write_project

    names = ", ".join(path.name for path in write_project(folder))
    print(f"{folder}: {names}")
    print(f"next: {command('cd', folder)} && mec-rllib check experiment.yaml")


@app.command()
def bench(
    only: Annotated[
        str | None,
        typer.Option(
            help="parts: kernel,training,experiment,growth; default: all but growth, "
            "and none beside --against"
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="REV", help="measure this code beside a git revision of it"),
    ] = None,
    long: Annotated[
        bool,
        typer.Option("--long", help="growth too, and every schedule and fleet of training"),
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="everybody is measured so many times")] = 3,
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Measure speed beside a JAX program, sbx, stable-baselines3, RLlib's DQN and plain Python.

    Contestants take turns; medians and ratios are printed. Peers that are not installed are
    skipped: pip install 'mec-rllib[bench]'. At most 25 minutes on 2 cores, with --long an hour.

    Example: mec-rllib bench --only kernel

    Example: mec-rllib bench --against HEAD~10
    """
    from mec_rllib.bench.run import bench as measure
    from mec_rllib.bench.run import parts_of, print_results

    results = measure(parts_of(only, against, long), rounds, _console(stderr=True), long, against)
    if json_:
        print(json.dumps(results))
    else:
        print_results(results, _console())
    if "failed" in results:
        raise typer.Exit(1)


def _run(out: Path, run: "Callable[[], list[str]]") -> None:
    go_on = f"go on with: {command('mec-rllib', 'resume', out)}"
    try:
        failures = run()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # while Ray ends: it would leave a traceback
        _fail(f"interrupted; {go_on}", 130)
    except (RuntimeError, OSError) as error:
        _fail(f"{error}; what is finished is kept, {go_on}", 1)
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
    return kind(out, Cluster(address, dashboard), _console(), _warn)


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


def _warn(message: str) -> None:
    print(f"mec-rllib: {message}", file=sys.stderr)


def _console(stderr: bool = False) -> "Console":
    """Standard output or error; in a file or a pipe tables are not cut at 80 columns."""
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if is_terminal or "COLUMNS" in os.environ else 120
    # Names of the user's may hold brackets.
    return Console(width=width, stderr=stderr, markup=False)


def main() -> None:
    """Runs the command line: exit code 0, 1 on failure, 2 on bad input, 130 on Ctrl-C (Typer's)."""
    sys.path.insert(0, str(Path.cwd()))  # import paths in a config start where the user stands
    try:
        sys.exit(app(standalone_mode=False))
    except ConfigError as error:
        _fail(error, 2)
    except Exception as error:
        # Typer's own errors (unknown option, missing argument) know their line and exit code.
        if not hasattr(error, "format_message"):
            raise
        _fail(error.format_message(), getattr(error, "exit_code", 2))


def _fail(message: object, code: int) -> NoReturn:
    print(f"mec-rllib: {message}", file=sys.stderr)
    sys.exit(code)
