"""How long, how much, and how large; and a process that measures whenever it is told to.

Only the standard library: `revision` takes this file along to other revisions of the package.
"""

import json
import os
import resource
import sys
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


def none() -> int:
    """Updates of who does not learn."""
    return 0


class Player(NamedTuple):
    """Somebody who has warmed up and can be measured."""

    play: Callable[[], int]  # plays, and returns how many slots
    updates: Callable[[], int] = none  # so far
    wall: bool = False  # whether other processes take part
    plays: str = ""  # how, if there are several ways
    least_slots: int = 0  # of a measurement: where the work comes in bursts

    def measure(self, seconds: float = SECONDS) -> Work:
        """Plays until the time is up and the least slots are played, after a first call."""
        self.play()
        return self._time(lambda took, slots: took >= seconds and slots >= self.least_slots)

    def measure_once(self) -> Work:
        """Plays once."""
        return self._time(lambda took, slots: True)

    def _time(self, is_done: Callable[[float, int], bool]) -> Work:
        clock = time.perf_counter if self.wall else time.process_time
        updates, start = self.updates(), clock()
        slots = self.play()
        while not is_done(took := clock() - start, slots):
            slots += self.play()
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Work(slots, self.updates() - updates, took, peak_mb)


def serve(prepare: Callable[[], Player], measure: Callable[[Player], Work]) -> None:
    """Warms up, says so on standard output, and measures once for every line of standard input.

    Prints one JSON object a line: {"plays": how}, or {"skipped": why} and no more if `prepare`
    raises an ImportError or a ConfigError; then the figures of each measurement.
    """
    # What libraries print is not an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        player = prepare()
    except Exception as error:
        # By name: this file imports nothing of the package.
        if not isinstance(error, ImportError) and type(error).__name__ != "ConfigError":
            raise
        missing = getattr(error, "name", None)
        print(json.dumps({"skipped": str(error), "missing": missing}), file=answers)
        return
    print(json.dumps({"plays": player.plays}), file=answers)
    for _ in sys.stdin:
        print(json.dumps(measure(player)._asdict()), file=answers)
