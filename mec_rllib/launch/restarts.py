"""Where a trial goes on: the one judge of it, for a resume, a restart and the trial itself.

All of them look into its folder: the newest whole checkpoint, or the start if there is none.
"""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ray.exceptions import RayError, RayTaskError

from mec_rllib.errors import LostError
from mec_rllib.results.folder import TrialFolder
from mec_rllib.trials.checkpoints import newest_good_checkpoint

REPORT_FILE = "report.json"  # in a checkpoint: the last report, in case nobody wrote it down
# The outside world may come to its senses; a name that is wrong stays wrong.
WRONG_NAMES = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)

logger = logging.getLogger(__name__)


class RestartPoint(NamedTuple):
    """A checkpoint to go on from."""

    checkpoint: Path
    report: dict[str, Any]  # the last one before it

    @property
    def number(self) -> int:
        """Reports up to it."""
        return TrialFolder.number(self.checkpoint)

    @property
    def is_over(self) -> bool:
        """Whether the trial had come to its end, and nobody heard of it: its report is its last."""
        return bool(self.report.get("done"))


def restart_point(
    trial: TrialFolder, of: Mapping[str, Any], warn: Callable[[str], None] = logger.warning
) -> RestartPoint | None:
    """Where a trial goes on; None: at slot 0.

    Args:
        trial: its folder.
        of: whose checkpoint it must be (`origin`).
        warn: is told of damaged checkpoints that are passed over.

    Raises:
        CheckpointError: all of them are damaged, or one is not ours to go on from.
    """
    path = newest_good_checkpoint(trial, of, warn)
    if path is None:
        return None
    return RestartPoint(path, json.loads((path / REPORT_FILE).read_text(encoding="utf-8")))


def as_reported(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report read from a file, as the trial made it: TensorBoard would draw a list."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in report.items()}


def may_mend(error: BaseException | None) -> bool:
    """Whether a restart may mend it: a process or node was lost, or a disk or network refused.

    Any other exception would come again, at the same slot.
    """
    while isinstance(error, RayTaskError):  # raised in another process
        error = error.cause
    if isinstance(error, RayError | LostError):
        return True
    if isinstance(error, OSError):
        return not isinstance(error, WRONG_NAMES)
    return error is not None and may_mend(error.__cause__)
