"""A slot of the accelerator that serves requests, beat by beat: compiled functions on its tables.

Sequences sit in C seats and tick once a slot; requests wait in two queues, first come first.
"""

from typing import NamedTuple

from mec_rllib.compiled import compiled
from mec_rllib.sim.jobs import Floats, Ints

SEATS, PLACES = 16, 8  # C, and requests that may wait per class
NOTHING, ADMIT_INTERACTIVE, ADMIT_BATCH, PREEMPT = range(4)  # actions
INTERACTIVE, BATCH = range(2)  # classes
FREE = -1  # Seats.class_of
NEW, AGAIN = 0, 1  # Queue.again: a sequence that was preempted has had its reward
STALL = 0.02  # cost of a slot in which an interactive sequence is slowed down, share of its weight
RESTART, PATIENCE = 3.0, 20  # of a preempted sequence: slots lost, slots that it waits


class Seats(NamedTuple):
    """The running sequences."""

    residual: Floats  # (C,) slots left, at full speed
    class_of: Ints  # (C,) INTERACTIVE, BATCH or FREE


class Queues(NamedTuple):
    """Requests that wait, the first come in front."""

    waiting: Ints  # (2,)
    length: Floats  # (2, PLACES) slots that it will run
    slack: Ints  # (2, PLACES) slots that it may still wait
    patience: Ints  # (2, PLACES) slots that it may wait in all
    again: Ints  # (2, PLACES) NEW or AGAIN


class Sums(NamedTuple):
    """What the last slot brought."""

    reward: Floats  # () not scaled
    weight: Floats  # () of the requests resolved


@compiled
def is_allowed(seats, queues, action):
    """Whether an action can be played."""
    if action == NOTHING:
        return True
    has_room = free_seats(seats) > 0
    if action == PREEMPT:
        return not has_room and queues.waiting[INTERACTIVE] > 0 and longest_batch(seats) >= 0
    return has_room and queues.waiting[action - ADMIT_INTERACTIVE] > 0


@compiled
def free_seats(seats):
    """Seats that nobody has."""
    free = 0
    for c in seats.class_of:
        free += c == FREE
    return free


@compiled
def longest_batch(seats):
    """Seat of the batch sequence with the largest residual; -1: there is none."""
    longest = -1
    for k in range(SEATS):
        is_longer = longest < 0 or seats.residual[k] > seats.residual[longest]
        if seats.class_of[k] == BATCH and is_longer:
            longest = k
    return longest


@compiled
def play(seats, queues, sums, weights, action, share):
    """Plays decide, tick and expire.

    Args:
        seats: they are changed.
        queues: they are changed.
        sums: are written.
        weights: (2,) of the classes.
        action: one that is allowed.
        share: of the accelerator that a training job takes in this slot.
    """
    sums.reward[0] = sums.weight[0] = 0.0
    if action == PREEMPT:
        _preempt(seats, queues, sums, weights)
        action = ADMIT_INTERACTIVE
    if action != NOTHING:
        _admit(seats, queues, sums, weights, action - ADMIT_INTERACTIVE)
    for k in range(SEATS):
        if seats.class_of[k] != FREE:
            if seats.class_of[k] == INTERACTIVE:
                sums.reward[0] -= STALL * weights[INTERACTIVE] * share
            seats.residual[k] -= 1.0 - share
            if seats.residual[k] <= 1e-9:
                seats.class_of[k] = FREE
    for c in range(2):
        _wait(queues, sums, weights, c)


@compiled
def arrive(queues, sums, weights, c, length, slack):
    """A request of class c comes; where the queue is full it is lost."""
    _join(queues, sums, weights, c, length, slack, NEW)


@compiled
def _preempt(seats, queues, sums, weights):
    k = longest_batch(seats)
    _join(queues, sums, weights, BATCH, seats.residual[k] + RESTART, PATIENCE, AGAIN)
    seats.class_of[k] = FREE


@compiled
def _admit(seats, queues, sums, weights, c):
    k = 0
    while seats.class_of[k] != FREE:
        k += 1
    seats.class_of[k], seats.residual[k] = c, queues.length[c, 0]
    if queues.again[c, 0] == NEW:
        waited = queues.patience[c, 0] - queues.slack[c, 0]
        satisfaction = 1.0 - 0.5 * waited / (queues.patience[c, 0] + 1.0)
        sums.reward[0] += weights[c] * satisfaction
        sums.weight[0] += weights[c]
    _leave(queues, c, 0)


@compiled
def _wait(queues, sums, weights, c):
    row = 0
    while row < queues.waiting[c]:
        queues.slack[c, row] -= 1
        if queues.slack[c, row] < 0:
            _lose(queues.again[c, row], sums, weights[c])
            _leave(queues, c, row)
        else:
            row += 1


@compiled
def _lose(again, sums, weight):
    """Missed: what was preempted is no second request, but it is missed."""
    sums.reward[0] -= weight
    if again == NEW:
        sums.weight[0] += weight


@compiled
def _join(queues, sums, weights, c, length, slack, again):
    row = queues.waiting[c]
    if row == PLACES:
        _lose(again, sums, weights[c])
        return
    queues.length[c, row], queues.again[c, row] = length, again
    queues.slack[c, row] = queues.patience[c, row] = slack
    queues.waiting[c] += 1


@compiled
def _leave(queues, c, row):
    queues.waiting[c] -= 1
    for k in range(row, queues.waiting[c]):
        queues.length[c, k] = queues.length[c, k + 1]
        queues.slack[c, k] = queues.slack[c, k + 1]
        queues.patience[c, k] = queues.patience[c, k + 1]
        queues.again[c, k] = queues.again[c, k + 1]
