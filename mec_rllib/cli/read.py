"""The verbs that read, write projects and traces, or measure: each calls the one that does it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mec_rllib.cli.shared import PATH, Folder, app, as_path, console, warn
from mec_rllib.errors import ConfigError
from mec_rllib.paths import command


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
    show(folder, console(), baseline)


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

    look(folder, Terms(every, futures, ahead), strategy, warn)
    print_section(probe_section(read_study(folder)), console())


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
        (of.print_suite_status if is_suite else of.print_status)(found, folder, console())


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
    print_listing(shown, console())


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="a new folder", parser=as_path, metavar="DIR")],
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

    results = measure(parts_of(only, against, long), rounds, console(stderr=True), long, against)
    if json_:
        print(json.dumps(results))
    else:
        print_results(results, console())
    if "failed" in results:
        raise typer.Exit(1)
