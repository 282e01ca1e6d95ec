"""Live progress of an experiment: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

LINE_EVERY_S = 15.0  # without a terminal
WIDE, NARROW = 110, 72  # columns of a terminal with room for slots, too, or hardly for the reward


def waiting(trials: int) -> str:
    """What is said until there is a report."""
    return f"{trials} trials wait for their processes" if trials > 1 else "its process starts"


class ExperimentProgress:
    """Shows slots done, reward so far, training share and time left, per trial and in all.

    Args:
        console: where to; not a terminal: a line per finished trial and one now and then.
        trials: how many there are.
        slots: of one trial.
        behind: slots that trials have played before, of a run that goes on.
    """

    def __init__(
        self, console: Console, trials: int, slots: int, behind: Mapping[str, int] | None = None
    ):
        self._console, self._trials, self._slots = console, trials, slots
        self._done = dict(behind or {})  # slots per trial
        self._last_line = time.monotonic()
        self._first: tuple[float, int] | None = None  # time and slots of the first report
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            # What is too long for the line is shortened here, so that the time left is seen.
            TextColumn("{task.description}", table_column=Column(no_wrap=True, ratio=1)),
            BarColumn(bar_width=24 if console.width >= WIDE else 8),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True, min_width=4)),
            TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("left", table_column=Column(no_wrap=True, min_width=4)),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            expand=True,
        )
        self._all = self._bars.add_task("all", total=trials * slots, figures="")

    def __enter__(self) -> "ExperimentProgress":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def begin(self, what: str) -> None:
        """Says what is being waited for, before there is any report."""
        if self._console.is_terminal:
            self._bars.update(self._all, figures=f"{what} ...")
        else:
            self._say(f"{what} ...")

    def show(self, name: str, result: Mapping[str, Any]) -> None:
        """Takes one report of a trial."""
        self._done[name] = result["timesteps_total"]
        is_first = self._first is None
        if self._first is None:  # starting up says nothing about the time left
            self._first = time.monotonic(), sum(self._done.values())
        reward = f"reward {result['reward']['lifetime']:.3f}  "
        training = f"training {result['share_training']:.2%}"
        figures = f"{result['timesteps_total']:,}/{self._slots:,} slots  {reward}{training}"
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=self._slots, figures="")
        width = self._console.width
        in_bar = figures if width >= WIDE else reward + training if width >= NARROW else reward
        self._bars.update(self._tasks[name], completed=self._done[name], figures=in_bar)
        finished = sum(slots >= self._slots for slots in self._done.values())
        self._bars.update(
            self._all,
            completed=sum(self._done.values()),
            figures=f"{finished} of {self._trials} trials done",
        )
        if result.get("done"):
            self._finish(name, figures)
        elif not self._console.is_terminal and (is_first or self._is_time()):
            self._say(f"{name}: {figures}, {self._left()} left in all")

    def restart(self, name: str, which: str, node: str | None) -> None:
        """A trial is started again, after it was lost or failed on a node."""
        place = f" (it was on {node})" if node else ""
        self._say(f"{name}: lost{place}; goes on from its last checkpoint, restart {which}")

    def fail(self, name: str, reason: str = "") -> None:
        """A trial failed; the others go on."""
        self._finish(name, f"failed{': ' if reason else ''}{reason}")

    def _finish(self, name: str, figures: str) -> None:
        self._say(f"{name}: {figures}")
        if name in self._tasks:
            self._bars.update(self._tasks[name], visible=False)

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def _is_time(self) -> bool:
        is_time = time.monotonic() - self._last_line >= LINE_EVERY_S
        if is_time:
            self._last_line = time.monotonic()
        return is_time

    def _left(self) -> str:
        assert self._first is not None  # something has been reported
        started, slots = self._first
        done, total = sum(self._done.values()), self._trials * self._slots
        if done <= slots:
            return "?"
        left = (time.monotonic() - started) * (total - done) / (done - slots)
        return str(timedelta(seconds=round(left)))
