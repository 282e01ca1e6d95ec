"""Reward against training: which strategy gives the most for what it takes?"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mec_rllib.files import number
from mec_rllib.results.stats import Interval, interval
from mec_rllib.results.stored import StoredStudy

ENOUGH = 3  # strategies for a front


class Point(NamedTuple):
    """A strategy that learns, means over its finished seeds that have an R, with intervals."""

    strategy: str
    n: int
    share: Interval  # of slots that train
    reward: Interval  # lifetime R
    on_front: bool  # no other one has as much reward for less training, or more for as much


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[bool]:
    """Which points no other one beats: at most the cost, at least the gain, and one of them better.

    Points that are equal in both are on the front together, or not at all.
    """
    order = sorted(range(len(costs)), key=lambda k: (costs[k], -gains[k]))
    on_front, best, best_cost = [False] * len(costs), -math.inf, -math.inf
    for k in order:
        on_front[k] = gains[k] > best or (gains[k] == best and costs[k] == best_cost)
        if gains[k] > best:
            best, best_cost = gains[k], costs[k]
    return on_front


def trade_off(study: StoredStudy) -> list[Point]:
    """The strategies whose training takes slots (`ideal` trains for free), least training first.

    Fewer than three of them are no trade-off: then there are no points.
    """
    points = []
    for strategy in study.strategies:
        mine = study.finished(strategy.label)
        rows = [t.row for t in mine if math.isfinite(number(t.row["reward_lifetime"]))]
        if not rows or not mine[0].learns or not strategy.occupies:
            continue
        share = interval([row["share_training"] for row in rows])
        reward = interval([row["reward_lifetime"] for row in rows])
        points.append(Point(strategy.label, len(rows), share, reward, False))
    if len(points) < ENOUGH:
        return []
    front = pareto_front([p.share.mean for p in points], [p.reward.mean for p in points])
    judged = [p._replace(on_front=on) for p, on in zip(points, front, strict=True)]
    return sorted(judged, key=lambda point: point.share.mean)
