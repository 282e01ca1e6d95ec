"""The tables of a report as cells of text, for console, `report.md` and `report.html`."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mec_rllib.files import number
from mec_rllib.results.stats import Interval
from mec_rllib.results.trade_off import Point

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
HEADINGS = ("strategy", "n", *(heading for _, heading, _ in COLUMNS))
PATTERNS = {"R": "+.3f", "share": ".2%", "slots": "+,.0f"}  # of a claim's estimate, by its unit
SMALLEST_P = 0.001  # that is printed as it is


class Section(NamedTuple):
    """A table with what is said about it."""

    title: str
    note: str
    headings: Sequence[str]
    rows: list[list[str]]


def pipes(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; columns of figures are aligned to the right."""
    rows = list(rows)
    columns = zip(*rows, strict=True) if rows else [()] * len(headings)
    marks = ["---:" if all(map(_is_figure, column)) else "---" for column in columns]
    lines = [headings, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_figure(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in "+-[<>"


def figures(values: Iterable[float | None]) -> list[str]:
    """The figures of a row under `COLUMNS`; "-" where there is none."""
    return [text(value, pattern) for value, (_, _, pattern) in zip(values, COLUMNS, strict=True)]


def text(value: float | None, pattern: str) -> str:
    """A number, or "-" where there is none."""
    return "-" if value is None or value != value else format(value, pattern)


def strategy_rows(
    aggregate: Iterable[dict[str, Any]], with_intervals: bool = True
) -> list[list[str]]:
    """Means over the seeds, the best strategy first; one without R last."""
    rows = []
    for entry in sorted(aggregate, key=_reward_first):
        cells = figures(entry[metric]["mean"] for metric, _, _ in COLUMNS)
        for k, (metric, _, pattern) in enumerate(COLUMNS):
            if metric in WITH_INTERVAL and with_intervals:
                cells[k] = plus_minus(_interval(entry[metric]), pattern)
        rows.append([entry["strategy"], str(entry["n"]), *cells])
    return rows


def claim_section(claims: Sequence[dict[str, Any]], how: str = "") -> Section:
    """What the claims say; `how` is added to the note."""
    survivors = sum(claim["holm"] for claim in claims)
    manner = ", ".join(filter(None, ("paired by seed", how)))
    note = f"{len(claims)} claims, {manner}, 95 % t-intervals; the tests are in docs/claims.md. "
    note += (
        f"{survivors} of them survive the Holm correction for all {len(claims)} (marked yes)."
        if not all(claim["note"] for claim in claims)
        else "None of them can be decided: a t-test needs two seeds that differ."
    )
    headings = ("claim", "verdict", "n", "estimate", "95 % CI", "margin", "p", "Holm")
    return Section(
        "Claims, paired by seed, Holm-corrected at 5 %",
        note,
        headings,
        [claim_cells(claim) for claim in claims],
    )


def claim_cells(claim: dict[str, Any]) -> list[str]:
    """A claim: where it is not decided for want of data, the place of the interval says why."""
    pattern = PATTERNS[claim["unit"]]
    low, high = (text(bound, pattern) for bound in claim["ci95"])
    is_share = claim["unit"] == "share"
    margin = f"{100 * claim['margin']:g}%" if is_share else f"{claim['margin']:g}"
    return [
        claim["text"],
        f"{claim['verdict']} (interim)" if claim["interim"] else claim["verdict"],
        str(claim["n"]),
        text(claim["estimate"], pattern),
        claim["note"] or f"[{low}, {high}]",
        f"{'<' if claim['is_below'] else '>'} {margin}",
        p_text(claim["p"]),
        ("yes" if claim["holm"] else "no") if not claim["note"] else "-",
    ]


def compare_section(comparisons: Sequence[dict[str, Any]]) -> Section:
    """Every strategy against the baseline."""
    baseline = comparisons[0]["baseline"] if comparisons else ""
    note = (
        f"R of each strategy minus that of {baseline}, paired by seed, 95 % t-intervals; Holm: "
        f"whether it differs from 0 after the correction for all {len(comparisons)}."
    )
    headings = ("strategy", "n", "difference", "95 % CI", "p", "Holm")
    rows = [_comparison_cells(c) for c in sorted(comparisons, key=_estimate_first)]
    return Section(f"Against {baseline}, paired by seed", note, headings, rows)


def _comparison_cells(found: dict[str, Any]) -> list[str]:
    low, high = (text(bound, "+.3f") for bound in found["ci95"])
    return [
        found["strategy"],
        str(found["n"]),
        text(found["estimate"], "+.3f"),
        found["note"] or f"[{low}, {high}]",
        p_text(found["p"]),
        ("yes" if found["holm"] else "no") if not found["note"] else "-",
    ]


def _estimate_first(found: dict[str, Any]) -> tuple[bool, float]:
    estimate = number(found["estimate"])
    return estimate != estimate, -estimate


def p_text(p: float | None) -> str:
    """A p-value; no test's is 0."""
    return f"< {SMALLEST_P:g}" if number(p) < SMALLEST_P else text(p, ".2g")


def front_section(points: Sequence[Point]) -> Section:
    """Reward against training."""
    front = ", ".join(point.strategy for point in points if point.on_front)
    note = f"On the Pareto front of the means (more reward for less training): {front}. "
    if any(point.n < 2 for point in points):
        note += "Some are of one seed: another one may change the front."
    else:
        note += "Intervals of neighbours may overlap: the front describes, the claims test."
    headings = ("strategy", "n", "training", "R", "on the front")
    return Section("Reward against training", note, headings, [_front_cells(p) for p in points])


def request_section(aggregate: Sequence[dict[str, Any]]) -> Section:
    """What the requests of gates that look at psi rest on; without rows where there is no such."""
    mine = [entry for entry in aggregate if entry.get("requests")]
    reasons = list(dict.fromkeys(name for entry in mine for name in entry["requests"]["shares"]))
    rows = [
        [
            entry["strategy"],
            str(entry["n"]),
            text(entry["requests"]["mean"], ",.0f"),
            *(_share_cell(entry["requests"]["shares"].get(name)) for name in reasons),
        ]
        for entry in mine
    ]
    note = (
        "Training jobs that were asked for, mean over seeds, and what they rest on: psi above its "
        "threshold, a tie (psi is the threshold: it says nothing, a clock or chance decides), or "
        "the fallback (Q is unreliable, or there is no threshold yet); a budget names its score."
    )
    names = {"psi": "psi above"}
    headings = ("strategy", "n", "requests", *(names.get(name, name) for name in reasons))
    return Section("Requests to train, and what they rest on", note, headings, rows)


def plus_minus(found: Interval, pattern: str) -> str:
    """A mean and half its interval, where there is one."""
    mean = text(found.mean, pattern)
    is_known = found.low == found.low
    return f"{mean} ± {format((found.high - found.low) / 2, pattern)}" if is_known else mean


def _interval(entry: dict[str, Any]) -> Interval:
    return Interval(*map(number, (entry["mean"], *entry["ci95"])))


def _reward_first(entry: dict[str, Any]) -> tuple[bool, float]:
    mean = number(entry["reward_lifetime"]["mean"])
    return mean != mean, -mean


def _front_cells(point: Point) -> list[str]:
    return [
        point.strategy,
        str(point.n),
        plus_minus(point.share, ".3%"),
        plus_minus(point.reward, ".4f"),
        "yes" if point.on_front else "no",
    ]


def _share_cell(share: dict[str, Any] | None) -> str:
    return "-" if share is None else text(share["mean"], ".1%")
