"""Random streams: every generator of a run comes from here, one for each purpose.

Two streams never share their numbers: numpy's `SeedSequence` mixes seed, purpose and index, and
pads the seed before it adds the other two. The same seed gives the same run.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for. Part of what a seed means: a number is never given to another one."""

    ARRIVALS = 0  # index: the server
    WORLDS = 1  # of a workload that drifts
    EPISODES = 2  # of an environment of Gymnasium; index: the environment
    ACTING = 3  # exploration, and gates that draw; index: the env runner
    REPLAY = 4  # what an update looks at
    MINIBATCHES = 5  # of an on-policy learner
    SCHEDULER = 6  # a rule that draws
    FUTURES = 7  # that a rollout imagines
    WEIGHT_NOISE = 8  # of noisy networks
    DAMAGE = 9  # done to Q on purpose
    IMAGINATION = 10  # what arrives in imagined servers
    RULES = 15  # that a search tries; index: the server
    GATE = 11  # that draws by itself
    SECOND_OPINION = 12  # start and batches of a second network
    PROBE = 13  # futures that a training job is priced in
    PRICE = 14  # start and batches of a network that learns what a training job costs
    BOOTSTRAP = 16  # of intervals in a report


def sequence_of(seed: int, purpose: Purpose, index: int = 0) -> np.random.SeedSequence:
    """Where the stream of a purpose starts.

    Args:
        seed: of the run, 0 or more.
        purpose: what is drawn.
        index: of the server, environment or runner that draws, 0 or more.
    """
    return np.random.SeedSequence(seed, spawn_key=(int(purpose), index))


def generator(seed: int, purpose: Purpose, index: int = 0) -> np.random.Generator:
    """The generator of a purpose (see `sequence_of`)."""
    return np.random.default_rng(sequence_of(seed, purpose, index))


def seed_of(seed: int, purpose: Purpose, index: int = 0) -> int:
    """A seed for what is not numpy's, in 0..2^31 - 1 (see `sequence_of`)."""
    return int(sequence_of(seed, purpose, index).generate_state(1)[0]) & 0x7FFFFFFF
