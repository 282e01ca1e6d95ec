"""Ctrl-C: once stops cleanly, with checkpoints; twice stops at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # batch systems send the second one
SAID = b"\nstopping after the reports under way; press Ctrl-C again to stop at once\n"


class CleanStop(tune.Stopper, tune.Callback):
    """Ends trials after the report under way, once the user asks for it.

    Args:
        after_report: False ends them at once; they go on from their last checkpoint.
    """

    def __init__(self, after_report: bool = True):
        self.is_asked = False
        self._after_report = after_report
        self._running: set[str] = set()
        self._awaited: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its callbacks with the experiment; nothing of this one is needed."""
        return CleanStop().__dict__

    def check(self) -> None:
        """Raises KeyboardInterrupt if the user has asked: for what would begin next."""
        if self.is_asked:
            raise KeyboardInterrupt

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial ends with this report."""
        self._awaited.discard(trial_id)
        return self.is_asked and self._after_report

    def stop_all(self) -> bool:
        """Whether to end all: every trial that ran when the user asked has reported."""
        return self.is_asked and not self._awaited

    def on_trial_start(self, iteration, trials, trial, **info) -> None:
        """A trial begins."""
        self._running.add(trial.trial_id)

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        """A trial is over."""
        self._running.discard(trial.trial_id)
        self._awaited.discard(trial.trial_id)

    on_trial_error = on_trial_complete

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals over; the second one raises KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, *_: Any) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
        if self._after_report:
            self._awaited = set(self._running)
        os.write(2, SAID)  # print() may be what was interrupted
