"""Pictures of an experiment, drawn from its files."""

from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from mec_rllib.files import number
from mec_rllib.results.measures import greedy_of
from mec_rllib.results.stats import interval
from mec_rllib.results.stored import StoredStudy, TrialResults
from mec_rllib.results.trade_off import trade_off

# Okabe and Ito: eight colours that colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B2A000")
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
SMOOTH = 5  # reports

Look = tuple[str, str, str]  # colour, line style, marker


class Drawn:
    """The trials that have reported, by strategy; each strategy has a look of its own."""

    def __init__(self, study: StoredStudy):
        self.study = study
        self.trade_off = trade_off(study)
        self.trials: dict[str, list[TrialResults]] = {}
        for trial in study.trials:
            if trial.reports:
                self.trials.setdefault(trial.strategy, []).append(trial)
        self.looks: dict[str, Look] = dict(zip(self.trials, _looks(), strict=False))

    def rows(self, strategy: str) -> list[dict[str, Any]]:
        """Rows of its finished trials."""
        return [t.row for t in self.trials[strategy] if t.is_finished]

    @property
    def paying(self) -> list[str]:
        """Strategies in which training jobs have run."""
        return [s for s, trials in self.trials.items() if any(map(_has_trained, trials))]


def _looks() -> Iterable[Look]:
    """Colours in turn; line style and marker change when the colours start again."""
    for style, marker in cycle(zip(STYLES, MARKERS, strict=True)):
        for colour in COLOURS:
            yield colour, style, marker


def draw_rewards(results: Drawn) -> Figure | None:
    """Reward over slots, one line per strategy, and below it every training job as a mark."""
    if not results.trials:
        return None
    marked = [s for s in results.paying if any(map(_training_slots, results.trials[s]))]
    figure = Figure(figsize=(10, 5 + 0.3 * len(marked)), layout="constrained")
    rows = figure.subplots(1 + bool(marked), 1, sharex=True, squeeze=False, **_heights(marked))
    reward = rows[0, 0]
    for strategy, trials in results.trials.items():
        _draw_band(reward, results, strategy, *_curve(trials, "reward", "window"))
    reward.set_ylabel("reward R, moving mean")
    figure.legend(loc="outside right upper", frameon=False)
    if marked:
        _draw_marks(rows[1, 0], results, marked)
    _label_slots(rows[-1, 0])
    return figure


def _heights(marked: list[str]) -> dict[str, Any]:
    return {"height_ratios": (12, len(marked))} if marked else {}


def _draw_marks(marks: Axes, results: Drawn, marked: list[str]) -> None:
    """Every training job of the first seed; thinned curves have none."""
    for row, strategy in enumerate(marked):
        fired = _training_slots(results.trials[strategy][0])
        colour = results.looks[strategy][0]
        marks.eventplot(fired, lineoffsets=row, linelengths=0.8, linewidths=0.5, colors=colour)
    marks.set_yticks(range(len(marked)), marked)
    marks.invert_yaxis()
    marks.set_ylabel("training jobs,\nfirst seed")


def draw_greedy(results: Drawn) -> Figure | None:
    """What the greedy policy was worth while it learned, where it was evaluated."""
    evaluated = {s: [greedy_of(t) for t in trials] for s, trials in results.trials.items()}
    evaluated = {s: [e for e in curves if e] for s, curves in evaluated.items()}
    if not any(evaluated.values()):
        return None
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    for strategy, curves in evaluated.items():
        length = min(map(len, curves), default=0)  # of a running experiment, what all have
        slots = np.array([slot for slot, _ in curves[0][:length]]) if curves else np.zeros(0)
        spread = [interval([curve[k][1] for curve in curves]) for k in range(length)]
        bands = np.array([(i.mean, i.low, i.high) for i in spread]).reshape(-1, 3).T
        _draw_band(axes, results, strategy, slots, *bands)
    axes.set_ylabel("R of the greedy policy")
    figure.legend(loc="outside right upper", frameon=False)
    _label_slots(axes)
    return figure


def draw_server_over_time(results: Drawn) -> Figure | None:
    """Load, and what training and user jobs take of the server, over slots."""
    paying = results.paying
    if not paying or not results.study.is_of_mec_servers:
        return None
    figure = Figure(figsize=(10, 8), layout="constrained")
    load, training, users = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 2))
    slots, _, _, _ = _curve(results.trials[paying[0]], "server", "share_training")
    if results.study.setting("env.workload") in ("bernoulli", "drift"):
        load.plot(slots, _offered_load(results.study, slots), color="black")
        load.set_ylim(0)
    load.set_ylabel("offered load")
    for strategy in paying:
        trials = results.trials[strategy]
        _draw_band(training, results, strategy, *_curve(trials, "server", "share_training"))
        _draw_band(users, results, strategy, *_curve(trials, "server", "server_use"), label=False)
    training.set_ylabel("slots that train")
    users.set_ylabel("units held by user jobs")
    for axes in (training, users):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(0)
    figure.legend(loc="outside right upper", frameon=False)
    _label_slots(users)
    return figure


def _offered_load(study: StoredStudy, slots: np.ndarray) -> np.ndarray:
    """The load of each server at slots of all of them together."""
    load = study.setting("env.load")
    points = load if isinstance(load, list) else [[0, load]]
    starts, loads = zip(*points, strict=True)
    return np.interp(slots / study.servers, starts, loads)


def draw_final(results: Drawn) -> Figure | None:
    """Lifetime, last-20-% and greedy reward of each strategy, with 95 % intervals."""
    finished = [s for s in results.trials if results.rows(s)]
    if not finished:
        return None
    figure = Figure(figsize=(8, 1.6 + 0.35 * len(finished)), layout="constrained")
    axes = figure.subplots()
    kinds = ("reward_lifetime", "reward_last20", "reward_greedy")
    for k, (metric, colour, marker) in enumerate(zip(kinds, COLOURS, MARKERS, strict=False)):
        for row, strategy in enumerate(finished):
            found = interval([number(r[metric]) for r in results.rows(strategy)])
            axes.errorbar(
                found.mean,
                row + 0.2 * (k - 1),
                xerr=np.nan_to_num(found.high - found.mean),
                color=colour,
                marker=marker,
                markersize=5,
                linestyle="none",
                label=metric.removeprefix("reward_") if row == 0 else None,
            )
    axes.set_yticks(range(len(finished)), finished)
    axes.invert_yaxis()
    axes.set_xlabel("reward R")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def draw_where(results: Drawn) -> Figure | None:
    """Use of the server and queue when training was asked for, against the average."""
    paying = [
        s
        for s in results.paying
        if any(row.get("use_at_training") is not None for row in results.rows(s))
    ]
    if not paying or not results.study.is_of_mec_servers:
        return None
    figure = Figure(figsize=(10, 1.6 + 0.35 * len(paying)), layout="constrained")
    use, queue = figure.subplots(1, 2, sharey=True)
    pairs = ((use, "use_at_training", "server_use"), (queue, "queue_at_training", "queue"))
    for axes, at_training, average in pairs:
        for row, strategy in enumerate(paying):
            then, always = (
                np.nanmean(
                    [np.nan if r.get(key) is None else r[key] for r in results.rows(strategy)]
                )
                for key in (at_training, average)
            )
            axes.plot([always, then], [row, row], color="0.6", zorder=1)
            axes.scatter(always, row, color="white", edgecolor="black", zorder=2, label="average")
            axes.scatter(then, row, color="#D55E00", zorder=3, label="when it asks to train")
        axes.set_xlim(0, 1.05 * axes.get_xlim()[1])
        axes.grid(alpha=0.3)
    use.set_yticks(range(len(paying)), paying)
    use.invert_yaxis()
    use.set_xlabel("units held by user jobs")
    use.xaxis.set_major_formatter(PercentFormatter(1.0))
    queue.set_xlabel("jobs waiting")
    handles, labels = queue.get_legend_handles_labels()
    figure.legend(handles[:2], labels[:2], loc="outside upper right", ncols=2, frameon=False)
    return figure


def draw_trade_off(results: Drawn) -> Figure | None:
    """Lifetime reward against the share of slots that train, 95 % intervals; the Pareto front."""
    learning = [s for s in results.trials if results.rows(s) and results.trials[s][0].learns]
    if not learning:
        return None
    figure = Figure(figsize=(8, max(5, 1 + 0.22 * len(learning))), layout="constrained")
    axes = figure.subplots()
    _draw_front(axes, results)
    for strategy in learning:
        rows = results.rows(strategy)
        share = interval([row["share_training"] for row in rows])
        reward = interval([row["reward_lifetime"] for row in rows])
        colour, _, marker = results.looks[strategy]
        axes.errorbar(
            share.mean,
            reward.mean,
            xerr=np.nan_to_num(share.high - share.mean),
            yerr=np.nan_to_num(reward.high - reward.mean),
            color=colour,
            marker=marker,
            linestyle="none",
            capsize=2,
            label=strategy,
        )
    axes.set_xscale("symlog", linthresh=1e-3)
    axes.set_xlim(-1e-4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.4g}"))
    axes.set_xlabel("share of slots that train (logarithmic from 0.001 on)")
    axes.set_ylabel("lifetime reward R")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _draw_front(axes: Axes, results: Drawn) -> None:
    """A staircase through the points of the front: what can be had for so much training."""
    front = [point for point in results.trade_off if point.on_front]
    if front:
        shares, rewards = ([p.share.mean for p in front], [p.reward.mean for p in front])
        axes.step(shares, rewards, where="post", color="0.7", linewidth=3, zorder=0, label="front")


def draw_misses(results: Drawn) -> Figure | None:
    """Miss rate of each job class, one group of bars per strategy."""
    finished = [s for s in results.trials if results.rows(s)]
    if not finished or "miss_rate_by_class" not in results.rows(finished[0])[0]:
        return None
    classes = list(results.rows(finished[0])[0]["miss_rate_by_class"])
    if not classes:
        return None
    figure = Figure(figsize=(8, 1.5 + 0.42 * len(finished)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(classes)
    for k, (name, colour) in enumerate(zip(classes, cycle(COLOURS), strict=False)):
        rates = [  # NaN, no bar: no job of the class was resolved
            interval([number(r["miss_rate_by_class"][name]) for r in results.rows(s)]).mean
            for s in finished
        ]
        places = np.arange(len(finished)) + (k - (len(classes) - 1) / 2) * height
        axes.barh(places, rates, height, color=colour, label=name)
    axes.set_yticks(range(len(finished)), finished)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("jobs missed (expired or dropped)")
    axes.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


class Picture(NamedTuple):
    """A picture of the report."""

    name: str  # of the file
    title: str
    caption: str
    draw: Callable[[Drawn], Figure | None]


PICTURES = (
    Picture(
        "rewards",
        "Learning curves",
        "Reward per report, moving mean of 5 reports; the line is the mean over seeds, the band "
        "its 95 % t-interval. Below: every training job of the first seed.",
        draw_rewards,
    ),
    Picture(
        "greedy",
        "What has been learned by then",
        "R of the policy without exploration and training, evaluated on the same jobs each time "
        "while it learned. Bands as above.",
        draw_greedy,
    ),
    Picture(
        "server",
        "Server over time",
        "What the users offer, and what training and user jobs take. Bands as above.",
        draw_server_over_time,
    ),
    Picture(
        "final",
        "What comes out",
        "R over all slots, over the last 20 %, and of the final policy without exploration and "
        "training. Bars: 95 % intervals over seeds.",
        draw_final,
    ),
    Picture(
        "where",
        "Where each gate trains",
        "Units held and jobs waiting when training was asked for, against the average slot. "
        "Left of the average is cheaper. Asking comes before the slot's decision, so a gate that "
        "looks at nothing (pts) asks a little left of it, too.",
        draw_where,
    ),
    Picture(
        "trade_off",
        "What training costs and brings",
        "Lifetime reward against training share; up and left is better. Bars: 95 % intervals over "
        "seeds. Grey: the Pareto front of the means among the gates that pay for their training.",
        draw_trade_off,
    ),
    Picture("misses", "Who pays", "Share of the jobs of each class that missed.", draw_misses),
)


def _draw_band(
    axes: Axes,
    results: Drawn,
    strategy: str,
    slots: np.ndarray,
    mean: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    label: bool = True,
) -> None:
    colour, style, _ = results.looks[strategy]
    name = strategy if label else None
    axes.plot(slots, mean, color=colour, linestyle=style, linewidth=1.6, label=name)
    axes.fill_between(slots, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.grid(alpha=0.3)


def _label_slots(axes: Axes) -> None:
    axes.set_xlabel("slot")
    axes.xaxis.set_major_formatter(lambda slot, _: f"{slot:,.0f}")


def _has_trained(trial: TrialResults) -> bool:
    """Whether training jobs took slots, as far as the reports tell."""
    if _training_slots(trial):
        return True
    return trial.learns and trial.is_finished and trial.row["share_training"] > 0.0


def _training_slots(trial: TrialResults) -> list[int]:
    return [slot for report in trial.reports for slot in report.get("training_slots", ())]


def _shifted(x: np.ndarray) -> np.ndarray:
    return np.pad(x, ((0, 0), (SMOOTH, 0)))[:, : x.shape[1]]


def _curve(
    trials: list[TrialResults], group: str, figure: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Slots, and over the seeds: mean and 95 % interval of a figure's moving mean."""
    longest = max((t.reports for t in trials), key=len)
    values = np.full((len(trials), len(longest)), np.nan)  # NaN: this trial is not as far yet
    for row, trial in zip(values, trials, strict=True):
        row[: len(trial.reports)] = [report[group][figure] for report in trial.reports]
    slots = np.array([report["timesteps_total"] for report in longest])
    sums, counts = np.nan_to_num(values).cumsum(axis=1), np.isfinite(values).cumsum(axis=1)
    with np.errstate(invalid="ignore"):
        means = (sums - _shifted(sums)) / (counts - _shifted(counts))
    means[np.isnan(values)] = np.nan
    intervals = [interval(column) for column in means.T]
    return slots, *np.array([(i.mean, i.low, i.high) for i in intervals]).T
