"""The verbs of the command line; each only reads its arguments and calls the one that does it."""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mec_rllib.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mec_rllib.experiments.config import Experiment
    from mec_rllib.experiments.runner import Stage

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


@app.command()
def train(config: Config, out: Out, set_: Sets = None) -> None:
    """Train one agent: the first strategy of the config with its first seed.

    Example: mec-rllib train tune_configs/demo.yaml --set strategies=[ats] --out runs/ats
    """
    from mec_rllib.experiments.config import load

    experiment = load(config, set_ or [])
    first = {"strategies": experiment.strategies[:1], "seeds": experiment.seeds[:1]}
    _run(experiment.model_copy(update=first), out, None)


@app.command()
def tune(
    config: Config,
    out: Out,
    set_: Sets = None,
    address: Annotated[
        str | None, typer.Option(help="a running Ray cluster (host:port or auto); default: local")
    ] = None,
) -> None:
    """Run an experiment, strategies x seeds, through Ray Tune.

    Example: mec-rllib tune tune_configs/demo.yaml --set seeds=[0,1,2] --out runs/three
    """
    from mec_rllib.experiments.config import load

    _run(load(config, set_ or []), out, address)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="folder of a train or tune that was interrupted")],
    address: Annotated[
        str | None, typer.Option(help="a running Ray cluster (host:port or auto); default: local")
    ] = None,
) -> None:
    """Go on with a train or tune that was interrupted or killed, or whose trials failed.

    Finished trials stay; the others go on from their newest checkpoint that is not damaged.

    Example: mec-rllib resume runs/demo
    """
    from mec_rllib.experiments.results import read_config
    from mec_rllib.experiments.runner import stages

    console, experiment = _console(), read_config(folder)
    plan = stages(experiment, folder)
    _join(address, experiment, folder, console)
    _play(plan, folder, address, console, go_on=True)


@app.command()
def evaluate(
    config: Annotated[Path, typer.Option(help="config file: the environment to play")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="a checkpoint, or the folder of a trial that has one")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="a scheduler: sjf, reservation, my_package.rules:Mine")
    ] = None,
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
    from mec_rllib.experiments.trial import evaluate as play

    if scheduler is not None:
        label, player = scheduler_of(experiment, scheduler)
    elif checkpoint is not None:
        label, player = policy_of(experiment, checkpoint)
    # Progress goes to stderr: stdout is for the result.
    progress = ExperimentProgress(Console(stderr=True), len(experiment.seeds), experiment.slots)
    with progress:
        rows = play(label, experiment, player, progress.show)
    if json_:
        print(json.dumps(finite({"rows": rows})))
    else:
        print_rows(rows, _console())


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="folder of an experiment")]) -> None:
    """Tables, claims and a picture of an experiment, finished or still running.

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

    Parts: kernel, training, experiment, growth. All of them take about 45 minutes on 2 cores.

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


def _run(experiment: "Experiment", out: Path, address: str | None) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: is taken; name a folder that is new or empty")
    from mec_rllib.experiments.runner import stages, write_config

    console = _console()
    plan = stages(experiment, out)
    _join(address, experiment, out, console)
    if experiment.search is not None:
        try:
            plan = stages(_search(experiment, out, address, console), out)
        except KeyboardInterrupt:
            _fail("interrupted; a search cannot be resumed: start it anew", 130)
        except RuntimeError as error:
            _fail(error, 1)
    for stage in plan:
        write_config(stage)
    _play(plan, out, address, console)


def _join(address: str | None, experiment: "Experiment", out: Path, console: "Console") -> None:
    """Looks at the cluster before anything is written, if there is one."""
    if address is not None:
        from mec_rllib.experiments.session import join_cluster

        console.print(join_cluster(address, experiment, out), highlight=False, soft_wrap=True)


def _play(
    plan: "list[Stage]", out: Path, address: str | None, console: "Console", go_on: bool = False
) -> None:
    """Runs the stages, or what is left of them, and shows the report."""
    from mec_rllib.experiments.progress import ExperimentProgress
    from mec_rllib.experiments.report import report as show
    from mec_rllib.experiments.resume import what_is_left
    from mec_rllib.experiments.runner import run_stage

    started = time.monotonic()
    try:
        for stage in plan:
            left = what_is_left(stage, _warn) if go_on else {}
            trials = stage.trials - len(left.get("finished", ()))
            if stage.folder != out.absolute() or go_on:
                console.print(f"{stage.experiment.name} ({trials} trials)", highlight=False)
            with ExperimentProgress(console, trials, stage.experiment.slots) as progress:
                failures = run_stage(stage, address, progress, **left)
            if failures:  # what comes next builds on it
                break
    except KeyboardInterrupt:
        _fail(f"interrupted; go on with: mec-rllib resume {out}", 130)
    except RuntimeError as error:
        _fail(error, 1)
    show(out, console)
    took = timedelta(seconds=round(time.monotonic() - started))
    console.print(f"took     {took}", highlight=False)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)


def _warn(message: str) -> None:
    print(f"mec-rllib: {message}", file=sys.stderr)


def _console() -> "Console":
    """Standard output; in a file or a pipe tables are not cut at 80 columns."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=120)


def _search(
    experiment: "Experiment", out: Path, address: str | None, console: "Console"
) -> "Experiment":
    """Searches first, if that is asked for; returns the experiment with the winner in it."""
    from mec_rllib.experiments.progress import ExperimentProgress
    from mec_rllib.experiments.search import check_search, run_search, search_stage

    search = experiment.search
    assert search is not None
    check_search(experiment)
    stage = search_stage(experiment, out)
    line = f"search: {search.samples} samples x {len(search.seeds)} seeds, {stage.folder}"
    console.print(line, highlight=False, soft_wrap=True)
    with ExperimentProgress(console, search.samples, search.slots) as progress:
        found = run_search(stage, address, progress)
    winner = found.strategies[-1]
    console.print(f"winner: {winner}", highlight=False, soft_wrap=True, markup=False)
    return found


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
