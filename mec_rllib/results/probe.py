"""psi beside the true price of a training job, over the life of an agent: what `probe` has seen."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from mec_rllib.results.stats import Interval, interval
from mec_rllib.results.stored import StoredStudy
from mec_rllib.results.tables import Section, plus_minus

PARTS = 5  # of a life
FEWEST = 10  # looks that a correlation is made of
SEEN = ("psi", "use", "queue")
NOTE = (
    "Rank correlation (Spearman) of what a gate can see with what a training job takes away: {} "
    "futures of {} slots with and without one, every {} slots without one; 1: it trains first "
    "where it costs least. Of use and queue the least is best. halves: two halves of the futures "
    "with each other, the most that can be expected. Mean over seeds, ± half the 95 % t-interval."
)


def probe_section(study: StoredStudy) -> Section:
    """Every gate that was looked at, in five parts of its life; no rows where none was."""
    rows, terms = [], (0, 0, 0)
    for strategy in study.strategies:
        found = [_read(study, strategy.label, t.seed) for t in study.finished(strategy.label)]
        seeds = [seen for seen in found if seen is not None]
        if not seeds:
            continue
        terms = tuple(seeds[0][key] for key in ("futures", "ahead", "every"))
        slots = study.slots // study.servers
        for part in range(PARTS):
            bounds = slots * part / PARTS, slots * (part + 1) / PARTS
            cells = [plus_minus(c, "+.2f") for c in _correlations(seeds, *bounds)]
            rows.append([strategy.label, str(len(seeds)), f"{bounds[1]:,.0f}", *cells])
    headings = ("strategy", "n", "until slot", *SEEN, "halves", "price")
    return Section("psi and the true price of a training job", NOTE.format(*terms), headings, rows)


def _correlations(seeds: Sequence[dict[str, Any]], start: float, stop: float) -> list[Interval]:
    """Of psi, use, queue and the halves, and the mean price, between two slots; over seeds."""
    found = [_of_one([s for s in seed["looks"] if start < s["slot"] <= stop]) for seed in seeds]
    return [interval(values) for values in zip(*found, strict=True)]


def _of_one(looks: Sequence[dict[str, float]]) -> list[float]:
    if len(looks) < FEWEST:
        return [np.nan] * (len(SEEN) + 2)
    columns = {k: np.array([look[k] for look in looks], float) for k in looks[0]}
    signs = {"psi": 1.0, "use": -1.0, "queue": -1.0}
    pairs = [(signs[name] * columns[name], -columns["price"]) for name in SEEN]
    pairs.append((columns["half"], columns["other_half"]))
    return [*(_rank_correlation(*pair) for pair in pairs), float(columns["price"].mean())]


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """NaN where one of them is constant, or not known."""
    is_constant = min(np.ptp(one), np.ptp(other)) == 0.0
    if is_constant or not np.isfinite([one, other]).all():
        return float("nan")
    return float(spearmanr(one, other).statistic)


def _read(study: StoredStudy, label: str, seed: int) -> dict[str, Any] | None:
    file = study.folder.trial(label, seed).probe
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
