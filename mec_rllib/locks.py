"""One process at a time in a folder."""

import fcntl
import os
import time
from pathlib import Path

from mec_rllib.errors import ConfigError


class Lock:
    """Held until it is closed or the process ends, however it ends."""

    def __init__(self, handle: int):
        self._handle: int | None = handle

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go; more than once does no harm."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


TRIES, BETWEEN_S = 3, 0.02  # whoever only asks holds a lock for less than that


def is_held(folder: Path) -> bool | None:
    """Whether a process is at work in a folder; None: the file system cannot tell.

    Where locks are kept by each machine for itself, those of others are not seen.
    """
    for attempt in range(TRIES):
        if attempt:
            time.sleep(BETWEEN_S)  # somebody else may be asking
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            continue
        except OSError:
            return None
        finally:
            os.close(handle)
    return True


def hold(folder: Path, wait_s: float = 0.0) -> Lock:
    """Locks a folder that exists.

    Args:
        folder: to lock; nothing is written into it.
        wait_s: how long to wait for another one that holds it, seconds.

    Raises:
        ConfigError: another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + max(wait_s, TRIES * BETWEEN_S)
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Lock(handle)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(handle)
                raise ConfigError(f"{folder}: another mec-rllib is at work in it") from None
            time.sleep(min(0.1, wait_s) or BETWEEN_S)
        except OSError:  # a file system without locks on folders: some network ones
            return Lock(handle)
