"""The processes of a run, for tests that look at them or end them."""

from pathlib import Path


def descendants(pid):
    """The process and all that it has started, as Linux lists them."""
    found = [pid]
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            found += descendants(int(child))
    return found


def named(name, pid):
    """Those of them whose name starts like this (Ray names its workers after what they do)."""
    return [
        one
        for one in descendants(pid)
        if Path(f"/proc/{one}/cmdline").read_bytes().startswith(name.encode())
    ]
