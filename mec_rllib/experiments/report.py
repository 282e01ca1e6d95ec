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

from mec_rllib.experiments.config import Experiment
from mec_rllib.experiments.health import SIGNATURES, Finding, examine
from mec_rllib.experiments.plots import PICTURES, Results
from mec_rllib.experiments.results import TrialResults, read_experiment, write_json
from mec_rllib.experiments.stats import Interval
from mec_rllib.experiments.summary import summarize
from mec_rllib.experiments.trade_off import Point, trade_off
from mec_rllib.experiments.yaml_text import dump_yaml
from mec_rllib.paths import command

COLUMNS = (  # metric, heading, format
    ("reward_lifetime", "R", ".3f"),
    ("reward_last20", "R last 20%", ".3f"),
    ("reward_greedy", "R greedy", ".3f"),
    ("miss_rate", "missed", ".1%"),
    ("share_training", "training", ".2%"),
    ("share_blocked", "blocked", ".2%"),
    ("learner_updates", "updates", ",.0f"),
)
WITH_INTERVAL = ("reward_lifetime", "reward_last20", "reward_greedy")
FRONT_HEADINGS = ("strategy", "n", "training", "R", "on the front")
CLAIM_HEADINGS = ("claim", "verdict", "estimate", "95 % CI", "margin", "p", "Holm")


def report(folder: Path, console: Console) -> None:
    """Writes the report's files into the folder and prints what they say.

    Raises:
        ConfigError: the folder holds no experiment of ours.
    """
    experiment, trials = read_experiment(folder)
    summary = summarize(experiment, trials)
    findings = examine(experiment, trials)
    points = trade_off(experiment, trials)
    write_json(folder / "summary.json", summary)
    pictures = _draw(experiment, trials, folder)
    (folder / "report.md").write_text(
        _markdown(experiment, summary, findings, points), encoding="utf-8"
    )
    page = _html(experiment, trials, summary, findings, points, pictures)
    (folder / "report.html").write_text(page, encoding="utf-8")

    if summary["rows"]:
        console.print(_table(experiment, summary["aggregate"]))
    if summary["claims"]:
        console.print(_claims(summary["claims"]))
    for finding in findings:
        line = f"{finding.strategy}: {finding.signature}; {finding.figures}"
        console.print(line, highlight=False, soft_wrap=True)
    missing = _missing(trials)
    if missing:
        unfinished = sum(not t.is_finished for t in trials)
        line = f"not finished ({unfinished} of {len(trials)}): {', '.join(missing)}"
        console.print(line, highlight=False, soft_wrap=True)
    places = (
        ("report", folder / "report.html"),
        ("figures", folder / "summary.json"),
        ("curves", command("tensorboard", "--logdir", folder)),
    )
    for name, place in places:
        console.print(f"{name:<8} {place}", highlight=False, soft_wrap=True)


def print_rows(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """The rows as a table, one line per seed."""
    table = _headed("", ("strategy", "seed"))
    for row in rows:
        table.add_row(row["strategy"], str(row["seed"]), *_cells(row[m] for m, _, _ in COLUMNS))
    console.print(table)


def _missing(trials: Iterable[TrialResults]) -> list[str]:
    """One entry per strategy, with the seeds that are not finished."""
    seeds: dict[str, list[str]] = {}
    for trial in trials:
        if not trial.is_finished:
            seeds.setdefault(trial.strategy, []).append(str(trial.seed))
    return [f"{strategy} (seed {', '.join(those)})" for strategy, those in seeds.items()]


def _draw(
    experiment: Experiment, trials: Sequence[TrialResults], folder: Path
) -> list[dict[str, str]]:
    """Writes the pictures that there is something to show in; returns them for the page."""
    results, drawn = Results(experiment, trials), []
    for picture in PICTURES:
        figure = picture.draw(results)
        if figure is None:
            continue
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=130)
        (folder / f"{picture.name}.png").write_bytes(buffer.getvalue())
        png = base64.b64encode(buffer.getvalue()).decode()
        drawn.append({"title": picture.title, "caption": picture.caption, "png": png})
    return drawn


def _html(
    experiment: Experiment,
    trials: Sequence[TrialResults],
    summary: dict[str, Any],
    findings: Sequence[Finding],
    points: Sequence[Point],
    pictures: Sequence[dict[str, str]],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(
        name=experiment.name,
        slots=f"{experiment.slots:,}",
        finished=sum(t.is_finished for t in trials),
        trials=len(trials),
        missing=_missing(trials),
        headings=[heading for _, heading, _ in COLUMNS],
        table=_rows_with_intervals(summary["aggregate"]),
        claim_headings=CLAIM_HEADINGS,
        claims=[_claim_cells(claim) for claim in summary["claims"]],
        claims_note=_claims_note(summary["claims"]),
        front_headings=FRONT_HEADINGS,
        front=[_front_cells(point) for point in points],
        front_note=_front_note(points),
        findings=findings,
        signatures=list(SIGNATURES),
        pictures=pictures,
        config=dump_yaml(summary["config"]),
        versions=", ".join(f"{name} {number}" for name, number in summary["versions"].items()),
    )


def _markdown(
    experiment: Experiment,
    summary: dict[str, Any],
    findings: Sequence[Finding],
    points: Sequence[Point],
) -> str:
    """Tables for a paper, an issue or `docs/results.md`."""
    headings = ("strategy", "n", *(heading for _, heading, _ in COLUMNS))
    parts = [
        f"# {experiment.name}",
        f"{experiment.slots:,} slots; mean over n seeds, ± half the 95 % t-interval.",
        _pipes(headings, _rows_with_intervals(summary["aggregate"])),
    ]
    if summary["claims"]:
        parts.append(_claims_note(summary["claims"]))
        parts.append(_pipes(CLAIM_HEADINGS, [_claim_cells(c) for c in summary["claims"]]))
    if points:
        parts.append(_front_note(points))
        parts.append(_pipes(FRONT_HEADINGS, [_front_cells(point) for point in points]))
    if findings:
        parts.append("Gate health:")
        parts.append("\n".join(f"- {f.strategy}: {f.signature}; {f.figures}" for f in findings))
    return "\n\n".join(parts) + "\n"


def _pipes(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows_with_intervals(aggregate: Iterable[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for entry in _best_first(aggregate):
        cells = _cells(entry[metric]["mean"] for metric, _, _ in COLUMNS)
        for k, (metric, _, pattern) in enumerate(COLUMNS):
            low, high = entry[metric]["ci95"]
            if metric in WITH_INTERVAL and low == low:
                cells[k] += f" ± {format((high - low) / 2, pattern)}"
        rows.append([entry["strategy"], str(entry["n"]), *cells])
    return rows


def _best_first(aggregate: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(aggregate, key=lambda e: -(e["reward_lifetime"]["mean"] or -9))


def _table(experiment: Experiment, aggregate: Iterable[dict[str, Any]]) -> Table:
    title = f"{experiment.name}: mean over seeds, {experiment.slots:,} slots"
    table = _headed(title, ("strategy", "n"))
    for entry in _best_first(aggregate):
        cells = _cells(entry[metric]["mean"] for metric, _, _ in COLUMNS)
        table.add_row(entry["strategy"], str(entry["n"]), *cells)
    return table


def _headed(title: str, keys: Sequence[str]) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    table.add_column(keys[0], no_wrap=True, min_width=11)
    for heading in (*keys[1:], *(heading for _, heading, _ in COLUMNS)):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cells(values: Iterable[float | None]) -> list[str]:
    return [
        "-" if value is None or value != value else format(value, pattern)
        for value, (_, _, pattern) in zip(values, COLUMNS, strict=True)
    ]


def _front_note(points: Sequence[Point]) -> str:
    front = ", ".join(point.strategy for point in points if point.on_front)
    return (
        f"On the Pareto front of the means (more reward for less training): {front}. "
        "Intervals of neighbours may overlap: the front describes, the claims test."
    )


def _front_cells(point: Point) -> list[str]:
    return [
        point.strategy,
        str(point.n),
        _plus_minus(point.share, ".3%"),
        _plus_minus(point.reward, ".4f"),
        "yes" if point.on_front else "no",
    ]


def _plus_minus(found: Interval, pattern: str) -> str:
    mean = format(found.mean, pattern)
    known = found.low == found.low
    return f"{mean} ± {format((found.high - found.low) / 2, pattern)}" if known else mean


def _claims_note(claims: Sequence[dict[str, Any]]) -> str:
    survivors = sum(claim["holm"] for claim in claims)
    return (
        f"{len(claims)} claims, paired by seed, 95 % t-intervals; the tests are in docs/claims.md. "
        f"{survivors} of them survive the Holm correction for all {len(claims)} (marked yes)."
    )


def _claims(claims: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        title=f"{len(claims)} claims: paired by seed, 95 % t-interval, Holm-corrected at 5 %",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in CLAIM_HEADINGS:
        table.add_column(heading, justify="left" if heading in ("claim", "verdict") else "right")
    for claim in claims:
        table.add_row(*_claim_cells(claim))
    return table


def _claim_cells(claim: dict[str, Any]) -> list[str]:
    low, high = claim["ci95"]
    known = low == low
    return [
        claim["text"],
        claim["verdict"],
        f"{claim['estimate']:+.3f}",
        f"[{low:+.3f}, {high:+.3f}]" if known else "one seed",
        f"{claim['margin']:g}",
        f"{claim['p']:.2g}" if known else "-",
        "yes" if claim["holm"] else "no",
    ]
