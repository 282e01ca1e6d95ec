"""Who asks the accelerator for what: two users of the interactive class, and batch requests."""

from typing import NamedTuple

import numpy as np

from mec_rllib.compiled import compiled
from mec_rllib.envs.llm.slot import BATCH, INTERACTIVE, arrive
from mec_rllib.sim.jobs import Floats, Ints

DRAWS = 10  # numbers in [0, 1) that a slot takes
CHANCE, CALENDAR, ANNOUNCED = range(3)  # Terms.bursts
DAY, SWING = 2000, 0.25  # slots of a wave, and how far it goes
IN_BURST, IN_CALM = 2.5, 0.6  # of the rate, where bursts come by chance
BURST_BEGINS, BURST_ENDS = 1.0 / 150.0, 1.0 / 40.0  # chance in a slot
CALENDAR_PERIOD, BURST = 120, 36  # slots; of a burst that has a time
CALM = (20, 149)  # slots between two bursts that are announced
RATE_IN_BURST, RATE_IN_CALM = 0.8, 0.13  # of interactive requests, where bursts have a time
SEEN_AHEAD = 60  # slots that a burst is announced before
LEARNS = 0.02  # rate of the running means of arrivals
LENGTHS = ((6, 18), (20, 60))  # slots of a sequence of each class, both included
MEAN_LENGTHS = (12.0, 40.0)
BATCH_SLACK = (40, 100)
LOAD = 13.5  # seats that are asked for on average
WORLDS = ((4.0, 1.0), (1.0, 4.0), (2.0, 2.0), (4.0, 2.0), (1.0, 2.0))  # weights, under drift


class Terms(NamedTuple):
    """What a variant is."""

    bursts: int  # CHANCE, CALENDAR or ANNOUNCED
    batch: float  # of the usual rate of batch requests
    drifts: bool


class Traffic(NamedTuple):
    """What comes, and what has come."""

    weights: Floats  # (2,) of the classes; never observed
    rates: Floats  # (2,) requests per slot of each class, on average
    patience: Floats  # () that slacks of interactive requests are stretched by
    is_burst: Ints  # ()
    left: Ints  # () slots until an announced burst begins or ends
    means: Floats  # (2,) running means of arrivals


VARIANTS = {
    "plain": Terms(CHANCE, 1.0, False),
    "saturated": Terms(CHANCE, 1.6, False),
    "half": Terms(CHANCE, 1.0, False),
    "drift": Terms(CHANCE, 1.0, True),
    "calendar": Terms(CALENDAR, 1.0, False),
    "announced": Terms(ANNOUNCED, 1.0, False),
}


def first_traffic(terms: Terms) -> Traffic:
    """Before the first slot."""
    rates = np.array([0.33, 0.24 * terms.batch])
    return Traffic(
        weights=np.array([4.0, 1.0]),
        rates=rates,
        patience=np.ones(1),
        is_burst=np.zeros(1, np.int64),
        left=np.full(1, CALM[1]),
        means=rates.copy(),
    )


def drift(traffic: Traffic, rng: np.random.Generator) -> None:
    """Another world: other weights, another mix, other slacks."""
    traffic.weights[:] = WORLDS[rng.integers(len(WORLDS))]
    share = rng.uniform(0.2, 0.6)
    traffic.rates[:] = LOAD * np.array([share, 1.0 - share]) / MEAN_LENGTHS
    traffic.patience[0] = np.exp(rng.uniform(-0.5, 0.7))


@compiled
def draw_arrivals(traffic, terms, queues, sums, slot, draws):
    """The requests of a slot; draws (DRAWS,) are numbers in [0, 1)."""
    rate = _interactive_rate(traffic, terms, slot, draws[0])
    came = 0
    for user in range(2):
        if draws[1 + 3 * user] < 0.5 * rate:
            came += 1
            slack = int((2.0 + 4.0 * draws[3 + 3 * user]) * traffic.patience[0])
            length = _whole(LENGTHS[INTERACTIVE], draws[2 + 3 * user])
            arrive(queues, sums, traffic.weights, INTERACTIVE, length, slack)
    batch = 0
    if draws[7] < traffic.rates[BATCH]:
        batch = 1
        slack = _whole(BATCH_SLACK, draws[9])
        arrive(queues, sums, traffic.weights, BATCH, _whole(LENGTHS[BATCH], draws[8]), int(slack))
    traffic.means[INTERACTIVE] += LEARNS * (came - traffic.means[INTERACTIVE])
    traffic.means[BATCH] += LEARNS * (batch - traffic.means[BATCH])


@compiled
def _interactive_rate(traffic, terms, slot, draw):
    """Requests of the interactive class in this slot, on average."""
    if terms.bursts == CHANCE:
        ends = BURST_ENDS if traffic.is_burst[0] else BURST_BEGINS
        if draw < ends:
            traffic.is_burst[0] = 1 - traffic.is_burst[0]
        wave = 1.0 + SWING * np.sin(2.0 * np.pi * slot / DAY)
        return traffic.rates[INTERACTIVE] * wave * (IN_BURST if traffic.is_burst[0] else IN_CALM)
    if terms.bursts == CALENDAR:
        traffic.is_burst[0] = 1 if slot % CALENDAR_PERIOD < BURST else 0
    else:
        traffic.left[0] -= 1
        if traffic.left[0] <= 0:
            traffic.is_burst[0] = 1 - traffic.is_burst[0]
            traffic.left[0] = BURST if traffic.is_burst[0] else int(_whole(CALM, draw))
    return RATE_IN_BURST if traffic.is_burst[0] else RATE_IN_CALM


@compiled
def _whole(bounds, draw):
    """A whole number within the bounds, both included, as a float."""
    return float(bounds[0] + int(draw * (bounds[1] - bounds[0] + 1)))
