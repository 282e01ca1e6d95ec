"""What an experiment shows, from its files: tables, claims, gate health and pictures.

Written as `summary.json`, `report.md`, PNGs and `report.html` (one file, opens offline).
"""

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from rich.console import Console
from rich.table import Table

from mec_rllib.errors import ConfigError
from mec_rllib.files import write_json, write_whole
from mec_rllib.paths import command
from mec_rllib.results.compare import check_labels
from mec_rllib.results.folder import Folder, SuiteFolder
from mec_rllib.results.gate_health import SIGNATURES, Finding, examine
from mec_rllib.results.luck import luck_section
from mec_rllib.results.probe import probe_section
from mec_rllib.results.report.plots import PICTURES, Drawn
from mec_rllib.results.robust import robust_section
from mec_rllib.results.stored import StoredStudy, TrialResults, read_study
from mec_rllib.results.suite import read_suite, summarize_suite, world_section
from mec_rllib.results.summary import summarize
from mec_rllib.results.tables import (
    COLUMNS,
    HEADINGS,
    Section,
    claim_section,
    compare_section,
    figures,
    front_section,
    pipes,
    request_section,
    strategy_rows,
)
from mec_rllib.results.traces import kept_traces, lines_of, without_jobs
from mec_rllib.results.trade_off import trade_off
from mec_rllib.yaml_text import dump_yaml


def report(folder: Path, console: Console, baseline: str | None = None) -> None:
    """Writes the report's files into the folder and prints what they say.

    Args:
        folder: of an experiment.
        console: to print on.
        baseline: label of the strategy that all others are compared with; None: the config's.

    Raises:
        ConfigError: the folder holds no experiment of ours, or no such strategy.
    """
    study = read_study(folder)
    summary, findings = summarize(study, baseline), examine(study)
    claims, requests = claim_section(summary["claims"]), request_section(summary["aggregate"])
    compared, front = compare_section(summary["comparisons"]), front_section(trade_off(study))
    robust, luck = robust_section(summary["rows"]), luck_section(study)
    probed = probe_section(study)
    shown_sections = (compared, claims, luck, robust, front, requests, probed)
    sections = [section for section in shown_sections if section.rows]
    write_json(study.folder.summary, summary)
    pictures = _draw(study)
    table = strategy_rows(summary["aggregate"])
    note = "Mean over seeds; ± is half the 95 % t-interval (none: one seed, or all are equal)."
    shown = _Shown(
        name=study.name,
        lead=f"{study.slots:,} slots per trial; {_finished(study.trials)}.",
        notes=_notes(study),
        table=Section("Strategies", note, HEADINGS, table),
        sections=sections,
        findings=findings,
        pictures=pictures,
    )
    write_whole(study.folder.report_md, _markdown(shown))
    write_whole(study.folder.report_html, _html(shown, summary))

    if summary["rows"]:
        console.print(_table(study, summary["aggregate"]))
    for section in (compared, claims, requests):
        if section.rows:
            console.print(_console_table(section))
    _print_lines(console, study.folder, [*map(_finding, findings), *shown.notes])


def report_whole_suite(folder: Path, console: Console, baseline: str | None = None) -> None:
    """Writes the reports of a suite and of each of its experiments; prints that of the suite.

    Args:
        folder: of a suite.
        console: to print on.
        baseline: label of the strategy that each experiment compares all others with.

    Raises:
        ConfigError: the folder holds no suite of ours, or an experiment has no such strategy.
    """
    suite = read_suite(folder)
    for label, world in suite.worlds.items():
        try:
            check_labels(world, *([baseline] if baseline else []))
        except ConfigError as error:
            raise ConfigError(f"{label}: {error}") from None
    for label, world in suite.worlds.items():
        if world.folder.path == suite.folder.world(label).path:  # its search is over
            report(world.folder.path, Console(quiet=True), baseline)
    report_suite(folder, console)


def report_suite(folder: Path, console: Console) -> None:
    """Writes and prints what a suite shows: strategies x worlds, and its own claims.

    Raises:
        ConfigError: the folder holds no suite of ours.
    """
    suite = read_suite(folder)
    summary = summarize_suite(suite)
    claims = claim_section(summary["claims"], "mean over the experiments")
    trials = [trial for world in suite.worlds.values() for trial in world.trials]
    shown = _Shown(
        name=suite.name,
        lead=f"{len(suite.worlds)} experiments; {_finished(trials)}.",
        notes=[f"{la}: {note}" for la, w in suite.worlds.items() for note in _notes(w)],
        table=world_section(suite),
        sections=[claims] if claims.rows else [],
        findings=[
            finding._replace(strategy=f"{label}, {finding.strategy}")
            for label, world in suite.worlds.items()
            for finding in examine(world)
        ],
        links=list(suite.worlds),
    )
    write_json(suite.folder.summary, summary)
    write_whole(suite.folder.report_md, _markdown(shown))
    write_whole(suite.folder.report_html, _html(shown, summary))
    for section in (shown.table, claims):
        if section.rows:
            console.print(_console_table(section))
    _print_lines(console, suite.folder, [*map(_finding, shown.findings), *shown.notes])


def print_rows(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """The rows as a table, one line per seed."""
    table = _headed("", ("strategy", "seed"))
    for row in rows:
        table.add_row(row["strategy"], str(row["seed"]), *figures(row[m] for m, _, _ in COLUMNS))
    console.print(table)


def print_section(section: Section, console: Console) -> None:
    """A table of a report, and what is said about it."""
    console.print(_console_table(section))
    console.print(section.note, highlight=False)


def _print_lines(console: Console, folder: Folder | SuiteFolder, lines: Iterable[str]) -> None:
    """What no table shows, and where everything lies."""
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    places = (
        ("report", folder.report_html),
        ("figures", folder.summary),
        ("curves", command("tensorboard", "--logdir", folder.path)),
    )
    for name, place in places:
        console.print(f"{name:<8} {place}", highlight=False, soft_wrap=True)


def _finished(trials: Sequence[TrialResults]) -> str:
    return f"{sum(t.is_finished for t in trials)} of {len(trials)} trials finished"


def _notes(study: StoredStudy) -> list[str]:
    """What the tables cannot show: traces that were played, trials without an end or without R."""
    trials = study.trials
    missing = [t for t in trials if not t.is_finished]
    finished = [t for t in trials if t.is_finished]
    empty = [t for t in finished if t.row["reward_lifetime"] is None]
    notes = [*lines_of(kept_traces(study.folder)), *without_jobs([t.row for t in finished])]
    if missing:
        notes.append(f"not finished ({len(missing)} of {len(trials)}): {_by_strategy(missing)}")
    if empty:
        notes.append(f"no R, for no job was resolved: {_by_strategy(empty)}")
    return notes


def _by_strategy(trials: Iterable[TrialResults]) -> str:
    """The strategies with the seeds of these trials."""
    seeds: dict[str, list[str]] = {}
    for trial in trials:
        seeds.setdefault(trial.strategy, []).append(str(trial.seed))
    return ", ".join(f"{strategy} (seed {', '.join(those)})" for strategy, those in seeds.items())


def _finding(finding: Finding) -> str:
    return f"{finding.strategy}: {finding.signature}; {finding.figures}"


def _draw(study: StoredStudy) -> list[dict[str, str]]:
    """Writes the pictures that there is something to show in; returns them for the page."""
    results, drawn = Drawn(study), []
    for picture in PICTURES:
        figure = picture.draw(results)
        if figure is None:
            continue
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=130)
        study.folder.picture(picture.name).write_bytes(buffer.getvalue())
        png = base64.b64encode(buffer.getvalue()).decode()
        drawn.append({"title": picture.title, "caption": picture.caption, "png": png})
    return drawn


class _Shown(NamedTuple):
    """What a report shows, in whatever form."""

    name: str
    lead: str  # a line on how much there is
    notes: Sequence[str]
    table: Section
    sections: Sequence[Section]
    findings: Sequence[Finding]
    pictures: Sequence[dict[str, str]] = ()
    links: Sequence[str] = ()  # folders with reports of their own


def _html(shown: _Shown, summary: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2").render(
        shown=shown,
        signatures=list(SIGNATURES),
        config=dump_yaml(summary["config"]),
        versions=", ".join(f"{name} {number}" for name, number in summary["versions"].items()),
    )


def _markdown(shown: _Shown) -> str:
    """Tables for a paper or an issue."""
    parts = [f"# {shown.name}", shown.lead]
    if shown.table.rows:
        parts += [shown.table.note, pipes(shown.table.headings, shown.table.rows)]
    else:
        parts.append("No trial has finished yet.")
    for section in shown.sections:
        parts += [section.note, pipes(section.headings, section.rows)]
    if shown.findings:
        parts.append("Gate health:")
        parts.append("\n".join(f"- {_finding(finding)}" for finding in shown.findings))
    if shown.notes:
        parts.append("\n".join(f"- {note}" for note in shown.notes))
    return "\n\n".join(parts) + "\n"


def _table(study: StoredStudy, aggregate: Sequence[dict[str, Any]]) -> Table:
    title = f"{study.name}: mean over seeds, {study.slots:,} slots"
    table = _headed(title, ("strategy", "n"))
    for row in strategy_rows(aggregate, with_intervals=False):
        table.add_row(*row)
    return table


def _headed(title: str, keys: Sequence[str]) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    table.add_column(keys[0], no_wrap=True, min_width=11)
    for heading in (*keys[1:], *(heading for _, heading, _ in COLUMNS)):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _console_table(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left", box=None, pad_edge=False)
    for heading in section.headings:
        is_text = heading in ("claim", "verdict", "strategy")
        table.add_column(heading, justify="left" if is_text else "right")
    for row in section.rows:
        table.add_row(*row)
    return table
