"""This project's DQN, of whatever revision is imported: one side of `bench --against`.

Run by its path, with PYTHONPATH at the code to measure, as

    python -P revision.py CODE '{"gate": "ats", "servers": 1, ...}'

so it may only use what old revisions have as well: config, `algorithm_config`, `train()`.
"""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

clock = runpy.run_path(str(Path(__file__).with_name("clock.py")))


def prepare(
    gate: str, servers: int, agent: str, slots: int, warm_up: int, in_python: bool = False
) -> Any:
    """A player of `slots` slots a measurement, after `warm_up` slots.

    Args:
        gate: its name.
        servers: N.
        agent: its name.
        slots: of all servers together.
        warm_up: likewise.
        in_python: asks a gate that is a Python subclass of the one named, slot by slot.
    """
    import ray
    import torch

    torch.set_num_threads(1)
    from mec_rllib.config.load import build
    from mec_rllib.config.strategies import resolve
    from mec_rllib.trials.learner_run import algorithm_config

    values = {"agent": known(agent), "strategies": [gate], "runners": {"servers": servers}}
    config = algorithm_config(resolve(build(values, "bench")).strategies[0], seed=0)
    if in_python:
        config.gating(gate=asked_in_python(config.gate_class), gate_args=config.gate_args)
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    algorithm = config.build_algo()

    def play(slots: int = slots) -> int:
        before, algorithm.slots_per_iteration = algorithm.slots, slots
        algorithm.train()
        return algorithm.slots - before

    play(warm_up)
    how = getattr(algorithm.env_runner, "plays", "slot by slot")
    return clock["Player"](play, lambda: algorithm.learner_updates, plays=how)


def known(agent: str) -> str:
    """What the revision calls this agent."""
    from mec_rllib.config.agents import names

    return "deployable" if agent == "replay" and agent not in names() else agent


def asked_in_python(gate: type) -> type:
    """The same gate, as a user would write one: nothing compiled asks it."""
    wants: Callable[..., Any] = lambda self, view: gate.wants(self, view)  # type: ignore[attr-defined] # noqa: E731
    return type(f"{gate.__name__}InPython", (gate,), {"wants": wants})


def main() -> None:
    """Plays what the command line names."""
    import mec_rllib

    code = Path(mec_rllib.__file__).parents[1]
    if code != Path(sys.argv[1]):
        raise SystemExit(f"{code} was imported, not {sys.argv[1]}")
    case = json.loads(sys.argv[2])
    clock["serve"](lambda: prepare(**case), lambda player: player.measure_once())


if __name__ == "__main__":
    main()
