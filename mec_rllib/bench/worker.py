"""A contestant in a process of its own: python -m mec_rllib.bench.worker NAME '{"servers": 1}'.

Measures whenever it is told to, as `mec_rllib.bench.clock.serve` says.
"""

import json
import os
import sys

from mec_rllib.bench.clock import Player, serve

# Before numpy, torch and JAX, whose processes Ray or XLA give as many threads as there are cores.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NPROC": "1", "JAX_PLATFORMS": "cpu"}


def main() -> None:
    """Prepares whom the command line names, on one thread."""
    os.environ.update(ONE_THREAD)
    name, arguments = sys.argv[1], json.loads(sys.argv[2])

    def prepare() -> Player:
        from mec_rllib.bench.contestants import CONTESTANTS

        if name in ("RLlib DQN", "mec-rllib"):
            start_ray(1 + arguments.get("runners", 0))
        return CONTESTANTS[name](**arguments)

    serve(prepare, Player.measure)


def start_ray(cpus: int) -> None:
    """A Ray of its own."""
    import ray
    import torch

    torch.set_num_threads(1)
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )


if __name__ == "__main__":
    main()
