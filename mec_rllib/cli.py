"""The verbs of the command line; each only reads its arguments and calls the one that does it."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mec_rllib.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mec_rllib.experiments.config import Experiment
    from mec_rllib.experiments.play import Player

app = typer.Typer(
    help="Edge servers whose scheduler learns while it works, and pays for learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path, typer.Argument(help="config file (YAML), for example tune_configs/demo.yaml")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a config key: --set env.load=0.6"),
]
Out = Annotated[Path, typer.Option(help="new folder for everything that the run writes")]


Address = Annotated[
    str | None, typer.Option(help="a running Ray cluster (host:port or auto); default: local")
]
Dashboard = Annotated[
    bool, typer.Option("--dashboard", help="Ray's dashboard for the local Ray, on this machine")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="go on with what is in --out, if it was begun there")
]


@app.command()
def train(
    config: Config,
    out: Out,
    set_: Sets = None,
    resume_: Resume = False,
    dashboard: Dashboard = False,
) -> None:
    """Train one agent: the first strategy of the config with its first seed.

    Example: mec-rllib train tune_configs/demo.yaml --set gate.period=200 --out runs/ats
    """
    from mec_rllib.experiments.config import load

    experiment = load(config, set_ or [])
    first = {"strategies": experiment.strategies[:1], "seeds": experiment.seeds[:1]}
    _begin(experiment.model_copy(update=first), out, None, dashboard, resume_)


@app.command()
def tune(
    config: Config,
    out: Out,
    set_: Sets = None,
    address: Address = None,
    resume_: Resume = False,
    dashboard: Dashboard = False,
) -> None:
    """Run an experiment, strategies x seeds, through Ray Tune.

    Example: mec-rllib tune tune_configs/demo.yaml --set seeds=[0,1,2] --out runs/three
    """
    from mec_rllib.experiments.config import load

    _begin(load(config, set_ or []), out, address, dashboard, resume_)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="folder of a train or tune that was interrupted")],
    address: Address = None,
    dashboard: Dashboard = False,
) -> None:
    """Go on with a train or tune that was interrupted or killed, or whose trials failed.

    Finished trials stay; the others go on from their newest checkpoint that is not damaged. The
    checkpoint of an unfinished trial is loaded with pickle: resume only folders that you trust.

    Example: mec-rllib resume runs/demo
    """
    _play(folder, _player(folder, address, dashboard).go_on)


@app.command()
def evaluate(
    config: Annotated[Path, typer.Option(help="config file: the environment to play")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="a checkpoint, or the folder of a trial that has one")
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

    Example: mec-rllib evaluate --scheduler sjf --config tune_configs/demo.yaml --seeds 0,1,2
    """
    from mec_rllib.experiments.config import load

    overrides = list(set_ or [])
    overrides += [f"slots={slots}"] if slots is not None else []
    overrides += [f"seeds=[{seeds}]"] if seeds is not None else []
    experiment = load(config, overrides)
    if (checkpoint is None) == (scheduler is None):
        raise ConfigError("evaluate: needs either --checkpoint or --scheduler")
    from rich.console import Console

    from mec_rllib.experiments.evaluate import policy_of, scheduler_of
    from mec_rllib.experiments.progress import ExperimentProgress
    from mec_rllib.experiments.report import print_rows
    from mec_rllib.experiments.results import finite
    from mec_rllib.experiments.traces import read_traces, tell_trace, without_jobs
    from mec_rllib.experiments.trial import evaluate as play

    read_traces([experiment.env], _warn)
    if scheduler is not None:
        label, player = scheduler_of(experiment, scheduler)
    elif checkpoint is not None:
        label, player = policy_of(experiment, checkpoint, allow_pickle)
    tell_trace(experiment.env, _warn)
    # Progress goes to stderr: stdout is for the result.
    progress = ExperimentProgress(Console(stderr=True), len(experiment.seeds), experiment.slots)
    with progress:
        rows = play(label, experiment, player, progress.show)
    for line in without_jobs(rows):
        _warn(line)
    if json_:
        print(json.dumps(finite({"rows": rows})))
    else:
        print_rows(rows, _console())


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="folder of an experiment")]) -> None:
    """Tables, claims, gate health and pictures of an experiment, finished or still running.

    Example: mec-rllib report runs/demo
    """
    from mec_rllib.experiments.report import report as show

    show(folder, _console())


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="folder of an experiment")],
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Say what runs, what is done, what failed and why, and how long it will take.

    Reads files only: it can be asked on any machine that sees the folder.

    Example: mec-rllib status runs/demo
    """
    from mec_rllib.experiments.results import finite
    from mec_rllib.experiments.status import print_status
    from mec_rllib.experiments.status import status as look

    found = look(folder)
    if json_:
        print(json.dumps(finite(found)))
    else:
        print_status(found, folder, _console())


@app.command()
def bench(
    only: Annotated[
        str | None, typer.Option(help="parts, for example kernel,training; default: all four")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="every pair is measured so many times")] = 3,
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Measure speed side by side with plain Python, RLlib's DQN and stable-baselines3.

    Parts: kernel, training, experiment, growth. All of them take about an hour on 2 cores.

    Example: mec-rllib bench --only kernel
    """
    from rich.console import Console

    from mec_rllib.bench.run import PARTS, print_results
    from mec_rllib.bench.run import bench as measure

    parts = PARTS if only is None else tuple(only.split(","))
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"--only {part}: is none of {', '.join(PARTS)}")
    results = measure(parts, rounds, Console(stderr=True))
    if json_:
        print(json.dumps(results))
    else:
        print_results(results, _console())


def _play(out: Path, play: "Callable[[], list[str]]") -> None:
    try:
        failures = play()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # while Ray ends: it would leave a traceback
        _fail(f"interrupted; go on with: mec-rllib resume {out}", 130)
    except (RuntimeError, OSError) as error:
        _fail(f"{error}; what is finished is kept, go on with: mec-rllib resume {out}", 1)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    if failures:
        print(f"mec-rllib: go on with: mec-rllib resume {out}", file=sys.stderr)
        raise typer.Exit(1)


def _player(out: Path, address: str | None, dashboard: bool) -> "Player":
    if address is None:
        # Whoever reaches a Ray can run code in it: ours listens on this machine only. Ray reads
        # this switch (made for desktops) when it is imported, and hands it to its processes.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from mec_rllib.experiments.cluster import Cluster
    from mec_rllib.experiments.play import Player

    return Player(out, Cluster(address, dashboard), _console(), _warn)


def _begin(
    experiment: "Experiment", out: Path, address: str | None, dashboard: bool, go_on: bool
) -> None:
    player = _player(out, address, dashboard)
    from mec_rllib.experiments.play import holds_experiment

    if go_on and holds_experiment(out):
        _play(out, lambda: player.go_on(experiment))
    else:
        _play(out, lambda: player.begin(experiment))


def _warn(message: str) -> None:
    print(f"mec-rllib: {message}", file=sys.stderr)


def _console() -> "Console":
    """Standard output; in a file or a pipe tables are not cut at 80 columns."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=120)


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
