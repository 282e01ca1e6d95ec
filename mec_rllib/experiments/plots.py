"""Pictures of an experiment, drawn from its files."""

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mec_rllib.experiments.results import TrialResults

# Okabe and Ito: eight colours that colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B2A000")
STYLES = ("-", "--", ":", "-.")


def draw_rewards(trials: list[TrialResults], title: str, path: Path) -> None:
    """Reward over slots, one line per strategy, and below it every training job as a mark."""
    strategies = list(dict.fromkeys(t.strategy for t in trials if t.reports))
    paying = [s for s in strategies if any(_training_slots(t) for t in trials if t.strategy == s)]
    figure = Figure(figsize=(9, 5 + 0.3 * len(paying)), layout="constrained")
    reward, marks = figure.subplots(
        2, 1, sharex=True, height_ratios=(12, max(len(paying), 1)), squeeze=True
    )
    looks = dict(zip(strategies, _looks(), strict=False))
    for strategy in strategies:
        colour, style = looks[strategy]
        slots, mean, low, high = _curve([t for t in trials if t.strategy == strategy])
        reward.plot(slots, mean, color=colour, linestyle=style, linewidth=1.6, label=strategy)
        reward.fill_between(slots, low, high, color=colour, alpha=0.12, linewidth=0)
    reward.set_ylabel("reward R, moving mean")
    reward.set_title(title, loc="left")
    reward.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    for row, strategy in enumerate(paying):
        trial = next(t for t in trials if t.strategy == strategy and t.reports)
        fired = _training_slots(trial)
        colour = looks[strategy][0]
        marks.eventplot(fired, lineoffsets=row, linelengths=0.8, linewidths=0.5, colors=colour)
    first_seed = next((t.seed for t in trials if t.reports), 0)
    marks.set_yticks(range(len(paying)), paying)
    marks.invert_yaxis()
    marks.set_ylabel(f"training jobs\n(seed {first_seed})")
    marks.set_xlabel("slot")
    marks.xaxis.set_major_formatter(lambda slot, _: f"{slot:,.0f}")
    figure.savefig(path, dpi=130)


def _looks() -> Iterable[tuple[str, str]]:
    """Colour and line style; the styles change when the colours start again."""
    for style in cycle(STYLES):
        for colour in COLOURS:
            yield colour, style


def _training_slots(trial: TrialResults) -> list[int]:
    return [slot for report in trial.reports for slot in report.get("training_slots", ())]


def _curve(
    trials: list[TrialResults], smooth: int = 5
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Slots, and over the seeds: mean, lowest and highest moving mean of the reward."""
    curves = [t.reports for t in trials if t.reports]
    length = min(len(c) for c in curves)
    slots = np.array([report["timesteps_total"] for report in curves[0][:length]])
    rewards = np.array([[r["reward"]["window"] for r in c[:length]] for c in curves], float)
    sums = np.cumsum(np.nan_to_num(rewards), axis=1)
    counts = np.cumsum(np.isfinite(rewards), axis=1)
    shift = lambda x: np.pad(x, ((0, 0), (smooth, 0)))[:, :length]  # noqa: E731
    means = (sums - shift(sums)) / np.maximum(counts - shift(counts), 1)
    return slots, means.mean(axis=0), means.min(axis=0), means.max(axis=0)
