"""What an experiment shows: `summary.json`, a table, claims and a picture, from its files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mec_rllib.experiments.plots import draw_rewards
from mec_rllib.experiments.results import read_experiment, write_json
from mec_rllib.experiments.summary import summarize

COLUMNS = (  # metric, heading, format
    ("reward_lifetime", "R", ".3f"),
    ("reward_last20", "R last 20%", ".3f"),
    ("reward_greedy", "R greedy", ".3f"),
    ("miss_rate", "missed", ".1%"),
    ("share_training", "training", ".2%"),
    ("share_blocked", "blocked", ".2%"),
    ("learner_updates", "updates", ",.0f"),
)


def report(folder: Path, console: Console) -> None:
    """Writes summary.json and rewards.png into the folder and prints what they say.

    Raises:
        ConfigError: the folder holds no experiment of ours.
    """
    experiment, trials = read_experiment(folder)
    summary = summarize(experiment, trials)
    write_json(folder / "summary.json", summary)
    missing = [f"{t.strategy} seed {t.seed}" for t in trials if not t.row]
    if summary["rows"]:
        console.print(_table(experiment.name, experiment.slots, summary["aggregate"]))
    if summary["claims"]:
        console.print(_claims(summary["claims"]))
    if missing:
        console.print(f"not finished ({len(missing)} of {len(trials)}): {', '.join(missing)}")
    if any(t.reports for t in trials):
        draw_rewards(trials, experiment.name, folder / "rewards.png")
        console.print(f"picture  {folder / 'rewards.png'}", highlight=False, soft_wrap=True)
    console.print(f"figures  {folder / 'summary.json'}", highlight=False, soft_wrap=True)
    console.print(f"curves   tensorboard --logdir {folder}", highlight=False, soft_wrap=True)


def print_rows(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """The rows as a table, one line per seed."""
    table = _headed("", ("strategy", "seed"))
    for row in rows:
        table.add_row(row["strategy"], str(row["seed"]), *_cells(row[m] for m, _, _ in COLUMNS))
    console.print(table)


def _table(name: str, slots: int, aggregate: Iterable[dict[str, Any]]) -> Table:
    table = _headed(f"{name}: mean over seeds, {slots:,} slots", ("strategy", "n"))
    for entry in sorted(aggregate, key=lambda e: -(e["reward_lifetime"]["mean"] or -9)):
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
        "-" if value is None else format(value, pattern)
        for value, (_, _, pattern) in zip(values, COLUMNS, strict=True)
    ]


def _claims(claims: Sequence[dict[str, Any]]) -> Table:
    title = "claims: difference paired by seed, 95 % t-interval"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("claim", "verdict", "difference", "95 % CI"):
        table.add_column(heading, justify="left" if heading in ("claim", "verdict") else "right")
    for claim in claims:
        low, high = claim["ci95"]
        ci = f"[{low:+.3f}, {high:+.3f}]" if low == low else "one seed"
        table.add_row(claim["text"], claim["verdict"], f"{claim['estimate']:+.3f}", ci)
    return table
