"""Live progress of an experiment: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 15.0  # without a terminal


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
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._all = self._bars.add_task("all", total=trials * slots, figures="")

    def __enter__(self) -> "ExperimentProgress":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show(self, name: str, result: Mapping[str, Any]) -> None:
        """Takes one report of a trial."""
        self._done[name] = result["timesteps_total"]
        if self._first is None:  # starting up says nothing about the time left
            self._first = time.monotonic(), sum(self._done.values())
        figures = (
            f"{result['timesteps_total']:,}/{self._slots:,} slots  "
            f"reward {result['reward']['lifetime']:.3f}  "
            f"training {result['share_training']:.2%}"
        )
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=self._slots, figures="")
        self._bars.update(self._tasks[name], completed=self._done[name], figures=figures)
        finished = sum(slots >= self._slots for slots in self._done.values())
        self._bars.update(
            self._all,
            completed=sum(self._done.values()),
            figures=f"{finished} of {self._trials} trials done,",
        )
        if result.get("done"):
            self._finish(name, figures)
        elif not self._console.is_terminal and self._is_time():
            self._say(f"{name}: {figures}, {self._left()} left in all")

    def restart(self, name: str, which: str, node: str | None) -> None:
        """A trial is started again, after it was lost or failed on a node."""
        place = f" (it was on {node})" if node else ""
        self._say(f"{name}: lost{place}; goes on from its last checkpoint, restart {which}")

    def fail(self, name: str) -> None:
        """A trial failed; the others go on."""
        self._finish(name, "failed")

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
