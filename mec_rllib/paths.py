"""Paths that a user gives on the command line, and commands that are printed for a user."""

import re
import shlex
from pathlib import Path

from mec_rllib.errors import ConfigError

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # two letters or more: C:/x is a drive
_DRIVE = re.compile(r"[A-Za-z]:(?:[\\/]|$)|\\\\")


def path_of(text: str) -> Path:
    """The path that a text names; `~` is the home folder.

    Raises:
        ConfigError: a URI or a drive of Windows, which would become a folder of that name; the
            home of nobody; nothing.
    """
    if not text:
        raise ConfigError("the path is empty; . is the folder that you are in")
    if uri := _URI.match(text):
        right = "name a folder of this machine, or mount the storage there"
        if uri[1].lower() == "file":
            right = f"write /{text[len('file:') :].lstrip('/')}"
        raise ConfigError(f"{text}: is a URI, not a path; {right}")
    if _DRIVE.match(text):
        raise ConfigError(f"{text}: is a path of Windows; write it as this machine names it")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f"{text}: there is no such user; write ./~... for that name") from None


def command(*words: object) -> str:
    """A command as it can be pasted into a shell."""
    return shlex.join(str(word) for word in words)
