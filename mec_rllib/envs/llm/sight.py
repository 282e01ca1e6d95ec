"""What is seen of the accelerator: numbers of about 1; the weights are not among them."""

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.envs.llm.slot import (
    BATCH,
    FREE,
    INTERACTIVE,
    PLACES,
    SEATS,
    free_seats,
    longest_batch,
)
from mec_rllib.envs.llm.traffic import ANNOUNCED, CALENDAR, CALENDAR_PERIOD, SEEN_AHEAD

SEEN = 20
SOON = (1.0, 3.0, 6.0, 12.0)  # slots in which a seat becomes free
LONG, PATIENT, SHORT = 60.0, 100.0, 18.0  # slots that stand for 1
TIGHT = (1, 15)  # slack of an urgent request, by class


@compiled
def look(seats, queues, traffic, terms, slot, seen):
    """Writes what is seen before a slot into `seen` (SEEN,)."""
    running = SEATS - free_seats(seats)
    seen[:] = 0.0
    seen[0] = free_seats(seats) / SEATS
    for c in range(2):
        seen[1 + c] = queues.waiting[c] / PLACES
    for k in range(SEATS):
        if seats.class_of[k] != FREE:
            for j, soon in enumerate(SOON):
                seen[3 + j] += (seats.residual[k] <= soon) / running
            seen[7] += (seats.class_of[k] == INTERACTIVE) / running
    longest = longest_batch(seats)
    seen[8] = seats.residual[longest] / LONG if longest >= 0 else 0.0
    seen[9] = _least_slack(queues, INTERACTIVE) / 6.0
    seen[10] = _urgent(queues, INTERACTIVE) / PLACES
    seen[12] = _least_slack(queues, BATCH) / PATIENT
    seen[13] = _urgent(queues, BATCH) / PLACES
    if queues.waiting[INTERACTIVE] > 0:
        seen[11] = queues.length[INTERACTIVE, 0] / SHORT
    if queues.waiting[BATCH] > 0:
        seen[14] = queues.length[BATCH, 0] / LONG
        seen[15] = queues.slack[BATCH, 0] / PATIENT
    seen[16], seen[17] = traffic.means[INTERACTIVE], traffic.means[BATCH]
    if terms.bursts == CALENDAR:
        phase = 2.0 * np.pi * slot / CALENDAR_PERIOD
        seen[18], seen[19] = np.sin(phase), np.cos(phase)
    elif terms.bursts == ANNOUNCED:
        is_burst = traffic.is_burst[0]
        seen[18] = 0.0 if is_burst else min(traffic.left[0], SEEN_AHEAD) / SEEN_AHEAD
        seen[19] = is_burst


@compiled
def _least_slack(queues, c):
    """Slots that the most urgent request of a queue may wait; 0 in an empty one."""
    least = 0
    for row in range(queues.waiting[c]):
        if row == 0 or queues.slack[c, row] < least:
            least = queues.slack[c, row]
    return least


@compiled
def _urgent(queues, c):
    urgent = 0
    for row in range(queues.waiting[c]):
        urgent += queues.slack[c, row] <= TIGHT[c]
    return urgent
