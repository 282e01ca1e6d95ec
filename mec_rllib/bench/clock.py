"""How long, how much, and how large."""

import resource
import time
from collections.abc import Callable
from typing import NamedTuple

SECONDS = 2.0  # of one measurement


class Work(NamedTuple):
    """What was done in one measurement."""

    slots: int  # of all servers together
    updates: int
    seconds: float  # of processor time; of wall time where other processes take part
    peak_mb: float  # largest memory of the process so far

    @property
    def rate(self) -> float:
        """Slots per second."""
        return self.slots / self.seconds


def until(
    play: Callable[[], int],
    updates: Callable[[], int] = lambda: 0,
    seconds: float = SECONDS,
    wall: bool = False,
) -> Work:
    """Calls `play` (it returns slots) until the time is up; the first call is not counted."""
    clock = time.perf_counter if wall else time.process_time
    play()
    slots, updates_before, start = 0, updates(), clock()
    while clock() - start < seconds:
        slots += play()
    took = clock() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Work(slots, updates() - updates_before, took, peak_mb)
