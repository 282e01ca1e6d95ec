"""Contestants take turns: A B C A B C, each in a process of its own that lives as long as the case.

So a machine that becomes slower is slower for all of them, and nobody warms up twice.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple, Self

from mec_rllib.bench.clock import Work

PATIENCE_S = 20.0  # for a process to end by itself


class Contestant(NamedTuple):
    """Who takes part: a command that does what `clock.serve` says."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]


class Turns(NamedTuple):
    """What became of a contestant: its works, round by round, or why it was skipped."""

    works: list[Work]
    plays: str = ""
    skipped: str | None = None

    def figures(self) -> dict[str, Any]:
        """As `--json` prints them."""
        if self.skipped is not None:
            return {"skipped": self.skipped}
        how = {"plays": self.plays} if self.plays else {}
        return how | {
            "slots_per_s": [work.rate for work in self.works],
            "updates_per_slot": [work.updates / work.slots for work in self.works],
            "peak_mb": [work.peak_mb for work in self.works],
        }


class SkippedError(Exception):
    """A contestant cannot take part here; the message says why."""


def take_turns(
    contestants: Sequence[Contestant], rounds: int, say: Callable[[str], None]
) -> dict[str, Turns]:
    """Measures each of them `rounds` times, in turns; `say` is told who is at it.

    Raises:
        RuntimeError: a contestant failed; the message has the end of what it said.
    """
    turns: dict[str, Turns] = {}
    with ExitStack() as stack:
        processes: dict[str, Process] = {}
        for one in contestants:
            say(f"{one.name} warms up")
            process = stack.enter_context(Process(one))
            try:
                turns[one.name] = Turns([], process.plays())
                processes[one.name] = process
            except SkippedError as reason:
                turns[one.name] = Turns([], skipped=str(reason))
        for turn in range(1, rounds + 1):
            for name, process in processes.items():
                say(f"{name}, {turn} of {rounds}")
                turns[name].works.append(process.measure())
    return turns


class Process:
    """A contestant at work; at the end of `with` it is told to end."""

    def __init__(self, contestant: Contestant):
        self._name = contestant.name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by __exit__
        self._process = subprocess.Popen(  # noqa: S603 our own command
            list(contestant.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=dict(contestant.env),
            text=True,
        )

    def plays(self) -> str:
        """Waits until it has warmed up; how it plays.

        Raises:
            SkippedError: it cannot take part.
        """
        answer = self._answer()
        if "skipped" not in answer:
            return answer["plays"]
        missing = answer["missing"]
        raise SkippedError(
            f"{missing} is not installed: pip install 'mec-rllib[bench]'"
            if missing and not missing.startswith("mec_rllib")
            else answer["skipped"]
        )

    def measure(self) -> Work:
        """One measurement."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has failed: the answer says how
            print(file=self._process.stdin, flush=True)
        return Work(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip()
            raise RuntimeError(f"bench: {self._name} failed:\n{said[-2000:]}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S if error[0] is None else 1.0)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()
