"""Breaks the code on purpose, one place at a time, and counts what the tests notice.

    python tests/helpers/mutants.py [ROOM ...] [--count 150] [--seed 0]

A mutant is a file with one thing changed: a comparison, an operator, a constant, a term or a
statement left out. A room is some files and the tests that answer for them. Compiled functions run
as plain Python (NUMBA_DISABLE_JIT), in a copy of the tree; a mutant is a fork of this process, so
that nothing heavy is imported twice. The command fails where a room's score is too low.

Why our own: mutmut leaves out decorated functions, so everything that is compiled. cosmic-ray
knows neither `+=` nor a term or statement left out, which is what our kernels are made of; nearly
all of its eleven replacements of an operator crash at once; and it starts Python for each mutant.
"""

import argparse
import compileall
import contextlib
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from py_compile import PycInvalidationMode

import yaml
from mutation import mutants

os.environ |= {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}

# Room: its files under mec_rllib, and under tests those that answer for them.
ROOMS = {
    "statistics": (
        "results/stats.py results/measures.py",
        "results/test_stats.py results/test_measures.py",
    ),
    "n_step": ("rl/replay/n_step.py", "rl/test_n_step.py"),
    "replay": (
        "rl/replay/prioritized.py rl/replay/priorities.py rl/replay/afterstates.py",
        "rl/test_replay.py",
    ),
    "update": (
        "rl/dqn/mlp_update.py rl/dqn/mlp.py rl/dqn/afterstates.py rl/dqn/learner.py "
        "rl/dqn/updates.py",
        "rl/test_update.py rl/test_compiled_updates.py rl/test_mlp.py",
    ),
    "gates": ("gates/*.py", "gates"),
    "schedulers": (
        "schedulers/base.py schedulers/heuristics.py schedulers/rollout.py",
        "schedulers/test_schedulers.py schedulers/test_rules_by_loop.py schedulers/test_rollout.py",
    ),
    "sim": (
        "sim/slot.py sim/server.py sim/workloads.py sim/drift.py sim/bursts.py sim/totals.py",
        "sim/test_server_by_hand.py sim/test_totals.py sim/test_bursts.py sim/test_arrivals.py "
        "sim/test_server_state.py gates/test_kinds.py sim/test_drift.py sim/test_workloads.py "
        "sim/test_server_properties.py",
    ),
}
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.yaml")
LEAST_SCORE, MOST_EQUIVALENT, MOST_SECONDS = 0.85, 0.05, 3600  # of a room
# Imported once. Nothing of ours, so that every mutant imports what is broken anew.
HEAVY = (
    "hypothesis pytest numba sympy scipy.stats torch._dynamo gymnasium pydantic typer rich "
    "ray.rllib.algorithms.dqn"
)


def run_tests(tests: list[str], limit_s: float) -> tuple[bool, float]:
    """Whether the tests of the tree in this folder pass, and seconds of CPU; more is not passing.

    A busy machine must not make a mutant look killed: the clock on the wall hardly counts.
    """
    child, until = os.fork(), time.monotonic() + 20 * limit_s
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit_s), math.ceil(limit_s)))
        run_in_child(tests)
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            return status == 0, used.ru_utime + used.ru_stime
        if time.monotonic() > until:  # it waits for something
            os.kill(child, signal.SIGKILL)
            until = math.inf
        time.sleep(0.02)


def run_in_child(tests: list[str]) -> None:
    code = 99
    with contextlib.suppress(BaseException):
        import hypothesis
        import pytest

        log = os.open("mutant.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.path.insert(0, os.getcwd())
        hypothesis.settings.register_profile("m", deadline=None, database=None, derandomize=True)
        hypothesis.settings.load_profile("m")
        plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler"]
        marked = ["-m", "not ray and not hosts and not compiled and not slow"]
        code = int(pytest.main(["-x", "-q", "--tb=no", *plugins, *marked, *tests]))
    os._exit(code)


def play(room: str, count: int, seed: int) -> bool:
    """Draws mutants of a room, tries them, prints who survived; whether the score is enough."""
    files, names = ROOMS[room]
    tests = [f"tests/{name}" for name in names.split()]
    paths = [path for pattern in files.split() for path in sorted(Path("mec_rllib").glob(pattern))]
    everything = [mutant for path in paths for mutant in mutants(path)]
    drawn = everything
    if len(everything) > count:
        drawn = random.Random(f"{room} {seed}").sample(everything, count)
    reasons = yaml.safe_load(EQUIVALENT.read_text()) or {}
    passed, clean_s = run_tests(tests, 600)
    if not passed:
        sys.exit(f"{room}: the tests fail without any mutant: {Path('mutant.log').read_text()}")
    print(
        f"{room}: {len(drawn)} of {len(everything)} mutants, tests of {clean_s:.1f} s", flush=True
    )
    killed, equivalent, survived, started = 0, 0, 0, time.monotonic()
    for tried, mutant in enumerate(drawn):
        if tried and tried % 25 == 0:
            print(f"  {tried} tried", flush=True)
        if time.monotonic() - started > MOST_SECONDS:
            print("  the hour is over: the rest is left out", flush=True)
            break
        original = Path(mutant.path).read_text()
        Path(mutant.path).write_text(mutant.source)
        lives, _ = run_tests(tests, 5 * clean_s + 5)
        Path(mutant.path).write_text(original)
        name = f"{mutant.path} {mutant.change}"
        if not lives:
            killed += 1
            if name in reasons:
                print(f"  listed as equivalent, but killed: {name}", flush=True)
        elif name in reasons:
            equivalent += 1
        else:
            survived += 1
            print(f"  survived: {name}", flush=True)
    score = killed / max(killed + survived, 1)
    print(
        f"{room}: {killed} killed, {survived} survived, {equivalent} equivalent: {score:.1%}",
        flush=True,
    )
    return score >= LEAST_SCORE and equivalent <= MOST_EQUIVALENT * len(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", help=f"of {', '.join(ROOMS)}; default: all")
    parser.add_argument("--count", type=int, default=150, help="mutants per room")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    wanted = parser.parse_args()
    if unknown := set(wanted.rooms) - set(ROOMS):
        parser.error(f"no room {', '.join(unknown)}; there are {', '.join(ROOMS)}")
    for module in HEAVY.split():
        __import__(module)
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        hidden = shutil.ignore_patterns(".*", "runs", "__pycache__")
        shutil.copytree(root, tree, ignore=hidden, symlinks=True)
        os.chdir(tree)
        ours = (root, root / "tests" / "helpers")
        sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() not in ours]
        os.environ["PYTHONPATH"] = str(tree)
        checked = PycInvalidationMode.CHECKED_HASH  # times are too coarse for a mutant's file
        compileall.compile_dir(tree, quiet=1, invalidation_mode=checked)
        sys.dont_write_bytecode = True
        scores = [play(room, wanted.count, wanted.seed) for room in wanted.rooms or ROOMS]
    sys.exit(not all(scores))


if __name__ == "__main__":
    main()
