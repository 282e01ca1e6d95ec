"""What an experiment shows, from its files: tables, claims, gate health and pictures.

Written as `summary.json`, `report.md`, PNGs and `report.html` (one file, opens offline).
"""

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Table

from mec_rllib.files import write_json, write_whole
from mec_rllib.paths import command
from mec_rllib.results.gate_health import SIGNATURES, Finding, examine
from mec_rllib.results.plots import PICTURES, Drawn
from mec_rllib.results.stored import StoredStudy, TrialResults, read_study
from mec_rllib.results.summary import summarize
from mec_rllib.results.tables import (
    COLUMNS,
    HEADINGS,
    Section,
    claim_section,
    compare_section,
    figures,
    front_section,
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
    sections = [section for section in (compared, claims, front, requests) if section.rows]
    write_json(study.folder.summary, summary)
    pictures = _draw(study)
    page = _html(study, summary, findings, sections, pictures)
    write_whole(study.folder.report_md, _markdown(study, summary, findings, sections))
    write_whole(study.folder.report_html, page)

    if summary["rows"]:
        console.print(_table(study, summary["aggregate"]))
    for section in (compared, claims, requests):
        if section.rows:
            console.print(_console_table(section))
    for line in (*map(_finding, findings), *_notes(study)):
        console.print(line, highlight=False, soft_wrap=True)
    places = (
        ("report", study.folder.report_html),
        ("figures", study.folder.summary),
        ("curves", command("tensorboard", "--logdir", folder)),
    )
    for name, place in places:
        console.print(f"{name:<8} {place}", highlight=False, soft_wrap=True)


def print_rows(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """The rows as a table, one line per seed."""
    table = _headed("", ("strategy", "seed"))
    for row in rows:
        table.add_row(row["strategy"], str(row["seed"]), *figures(row[m] for m, _, _ in COLUMNS))
    console.print(table)


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


def _html(
    study: StoredStudy,
    summary: dict[str, Any],
    findings: Sequence[Finding],
    sections: Sequence[Section],
    pictures: Sequence[dict[str, str]],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(
        name=study.name,
        slots=f"{study.slots:,}",
        finished=sum(t.is_finished for t in study.trials),
        trials=len(study.trials),
        notes=_notes(study),
        headings=HEADINGS,
        table=strategy_rows(summary["aggregate"]),
        sections=sections,
        findings=findings,
        signatures=list(SIGNATURES),
        pictures=pictures,
        config=dump_yaml(summary["config"]),
        versions=", ".join(f"{name} {number}" for name, number in summary["versions"].items()),
    )


def _markdown(
    study: StoredStudy,
    summary: dict[str, Any],
    findings: Sequence[Finding],
    sections: Sequence[Section],
) -> str:
    """Tables for a paper, an issue or `docs/results.md`."""
    parts = [f"# {study.name}"]
    if summary["rows"]:
        parts.append(
            f"{study.slots:,} slots; mean over n seeds, ± half the 95 % t-interval (none: one "
            "seed, or all are equal)."
        )
        parts.append(_pipes(HEADINGS, strategy_rows(summary["aggregate"])))
    else:
        parts.append("No trial has finished yet.")
    for section in sections:
        parts += [section.note, _pipes(section.headings, section.rows)]
    if findings:
        parts.append("Gate health:")
        parts.append("\n".join(f"- {_finding(finding)}" for finding in findings))
    if notes := _notes(study):
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _pipes(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
