"""Kinds of training jobs are numbered 0..J-1, everywhere; -1 means that there is none."""

import numpy as np

from mec_rllib.sim.jobs import Bools, Ints

NO_KIND = -1


def kinds_wanted(wanted: Bools | Ints) -> Ints:
    """(N,) kind of the training job wanted, or -1; booleans want kind 0."""
    kinds = np.asarray(wanted)
    return np.where(kinds, 0, NO_KIND) if kinds.dtype == bool else kinds.astype(np.int64)
