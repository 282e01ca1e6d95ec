"""What is compared with what; every pair is measured alternately, round by round."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mec_rllib.bench.contestants import SCHEDULES
from mec_rllib.bench.memory import peak_memory_mb
from mec_rllib.bench.turns import Contestant, take_turns

PEERS = ("mec-rllib", "JAX loop", "sbx", "SB3 native", "RLlib DQN")
WORKER = (sys.executable, "-m", "mec_rllib.bench.worker")
EXPERIMENT = {
    "strategies": ["ats", "pts", "sjf"],
    "seeds": [0, 1, 2, 3],
    "slots": 50_000,
    "env": {"load": 0.3},
}


class Case(NamedTuple):
    """One line of work, and who does it; the first contestant is ours."""

    name: str
    arguments: dict[str, Any]  # of every contestant
    contestants: tuple[str, ...]


KERNEL = [
    Case(f"N = {servers:,}", {"servers": servers}, ("kernel", "plain Python"))
    for servers in (1, 64, 1024)
] + [Case("N = 16,384", {"servers": 16_384}, ("kernel",))]
TRAINING = [
    Case(f"N = {servers}, {schedule}", {"servers": servers, "schedule": schedule}, PEERS)
    for schedule in ("ats", "never")
    for servers in (1, 64)
]
LONG_TRAINING = [
    Case(
        f"N = {servers}, {schedule}",
        {"servers": servers, "schedule": schedule},
        (*PEERS, "SB3 DummyVecEnv"),
    )
    for schedule in SCHEDULES
    for servers in (1, 16, 64)
]
GROWTH = (
    [
        Case(f"N = {n:,}", {"servers": n, "warm_up": max(4_000, 4 * n)}, ("mec-rllib",))
        for n in (1, 16, 256, 4096)
    ]
    + [
        Case(f"N = 16, M = {rows}", {"servers": 16, "buffer": rows}, ("mec-rllib",))
        for rows in (10, 30, 100)
    ]
    + [
        Case(
            f"N = 64, replay {rows:,}, full",
            # Few updates: it takes as many slots as rows to fill it.
            {"servers": 64, "capacity": rows, "warm_up": rows, "schedule": "1 per 100 slots"},
            ("mec-rllib",),
        )
        for rows in (10_000, 100_000, 1_000_000)
    ]
    + [
        Case(
            f"N = 16, {runners} remote runners", {"servers": 16, "runners": runners}, ("mec-rllib",)
        )
        for runners in (0, 1, 2)
    ]
)


def comparisons(part: str, long: bool) -> list[Case]:
    """The cases of a part of the bench; `long`: all that there are."""
    training = LONG_TRAINING if long else TRAINING
    return {"kernel": KERNEL, "training": training, "growth": GROWTH}[part]


def measure(case: Case, rounds: int, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """One entry per contestant of the case: its rounds, or why it was skipped."""
    arguments = json.dumps(case.arguments)
    contestants = [
        Contestant(name, (*WORKER, name, arguments), os.environ) for name in case.contestants
    ]
    turns = take_turns(contestants, rounds, lambda line: say(f"{case.name}: {line}"))
    for name, turn in turns.items():
        yield {"case": case.name, "contestant": name} | turn.figures()


def whole_experiment() -> dict[str, float | None]:
    """Wall time of a whole `tune` (3 strategies x 4 seeds x 50,000 slots), and its memory."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "bench.yaml")
        config.write_text(yaml.safe_dump(EXPERIMENT))
        return _time(["tune", str(config), "--out", str(Path(folder, "out"))])


def start_up() -> dict[str, float | None]:
    """Wall time of a whole `train` of so few slots that all of it is starting and ending."""
    return _train(until_report=False)


def first_slots() -> dict[str, float | None]:
    """Wall time of a `train` from its start until it reports its first slots."""
    return _train(until_report=True)


def _train(until_report: bool) -> dict[str, float | None]:
    short = EXPERIMENT | {"slots": 1_000, "strategies": ["ats"], "seeds": [0]}
    with tempfile.TemporaryDirectory() as folder:
        config, out = Path(folder, "bench.yaml"), Path(folder, "out")
        config.write_text(yaml.safe_dump(short | {"evaluation": {"slots": 1_000}}))
        report = out / "ats_seed0" / "result.json" if until_report else None
        return _time(["train", str(config), "--out", str(out)], report)


def help_text() -> dict[str, float | None]:
    """Wall time of `mec-rllib --help`."""
    return _time(["--help"])


COMMANDS: dict[str, Callable[[], dict[str, float | None]]] = {
    "mec-rllib --help": help_text,
    "train, until its first report": first_slots,
    "train, 1,000 slots": start_up,
    "tune, 3 strategies x 4 seeds x 50,000 slots": whole_experiment,
}


def _time(arguments: list[str], until: Path | None = None) -> dict[str, float | None]:
    """Runs a command; the seconds end with it, or as soon as there is something in a file."""
    start = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "mec_rllib", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    seconds = None
    while until is not None and seconds is None and process.poll() is None:
        time.sleep(0.02)
        if until.is_file() and until.stat().st_size:
            seconds = time.perf_counter() - start
    peak_mb = peak_memory_mb(process)
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"bench: {arguments[0]} failed:\n{errors.decode().strip()[-2000:]}")
    return {"seconds": seconds or time.perf_counter() - start, "peak_mb": peak_mb}
