"""Priorities of a replay in a sum tree, in compiled code: what is drawn, and what it is worth.

Proportional prioritization after Schaul et al. 2016 (PER): a transition is drawn with probability
p^alpha / sum p^alpha, its weight is (n * probability)^-beta over the largest weight of the batch.
"""

from typing import NamedTuple

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.sim.jobs import Floats


class Priorities(NamedTuple):
    """A complete binary tree of sums, and what priorities become.

    Node k has the children 2k and 2k + 1; the second half of the tree are the leaves, one for
    each transition, with its priority to the power alpha.
    """

    tree: Floats  # (2 * leaves,)
    largest: Floats  # (1,) of all leaves so far, that of a new transition
    alpha: float
    beta: float


@compiled
def draw(priorities, uniforms):
    """Rows (B,) and importance weights (B,) float32, for B numbers in [0, 1)."""
    points = np.empty(len(uniforms))
    for j in range(len(points)):
        # One draw per B-th of the total (stratified), as in the PER paper.
        points[j] = (j + uniforms[j]) / len(points) * priorities.tree[1]
    rows = _find(priorities.tree, points)
    return rows, _importance(priorities.tree, rows, priorities.beta)


@compiled
def reprioritize(priorities, rows, errors):
    """Sets the priorities of these rows to |TD error|."""
    new = np.empty(len(rows))
    for j in range(len(rows)):
        new[j] = (abs(errors[j]) + 1e-6) ** priorities.alpha
        priorities.largest[0] = max(priorities.largest[0], new[j])
    set_leaves(priorities.tree, rows, new)


@compiled
def set_leaves(tree, rows, leaves):
    """Writes leaves, and the sums above them."""
    for j in range(len(rows)):
        node = len(tree) // 2 + rows[j]
        tree[node] = leaves[j]
        node //= 2
        while node >= 1:
            # Sums are taken anew, never adjusted: rounding errors cannot pile up.
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node //= 2


@compiled
def _find(tree, points):
    """Rows of these points of the running sum; the points are used up."""
    rows = np.empty(len(points), np.int64)
    rows[:] = 1  # nodes on the way down
    leaves = len(tree) // 2
    level = 1
    # All go down level by level: side by side, their waits for memory overlap.
    while level < leaves:
        for j in range(len(points)):
            left, right = tree[2 * rows[j]], tree[2 * rows[j] + 1]
            goes_right = (points[j] >= left) & (right > 0.0)  # a last point may be rounded up
            points[j] -= left * goes_right
            rows[j] = 2 * rows[j] + goes_right
        level *= 2
    for j in range(len(rows)):
        rows[j] -= leaves
    return rows


@compiled
def _importance(tree, rows, beta):
    weights, largest = np.empty(len(rows)), 0.0
    for j in range(len(rows)):
        # n and the sum of all priorities cancel against the largest weight.
        weights[j] = tree[len(tree) // 2 + rows[j]] ** -beta
        largest = max(largest, weights[j])
    scaled = np.empty(len(rows), np.float32)
    for j in range(len(rows)):
        scaled[j] = weights[j] / largest
    return scaled
