"""The processes of a run, for tests that look at them or end them."""

from collections import defaultdict
from pathlib import Path


def descendants(pid):
    """The process and all that it has started, as Linux lists them."""
    children = defaultdict(list)
    for one in Path("/proc").glob("[0-9]*"):
        fields = _read(one / "stat").rpartition(b")")[2].split()
        if fields:  # it has not ended meanwhile
            children[int(fields[1])].append(int(one.name))
    found = [pid]
    for parent in found:  # grows on the way
        found += children[parent]
    return found


def named(name, pid):
    """Those of them whose name starts like this (Ray names its workers after what they do)."""
    return [
        one
        for one in descendants(pid)
        if _read(Path(f"/proc/{one}/cmdline")).startswith(name.encode())
    ]


def _read(path):
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
