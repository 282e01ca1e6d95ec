"""One measurement in a process of its own: python -m mec_rllib.bench.worker NAME '{"servers": 1}'.

Prints one JSON object: the figures, or {"skipped": why} where a peer is not installed.
"""

import json
import os
import sys


def main() -> None:
    """Measures what the command line names, on one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch; Ray does the same in a trial
    from mec_rllib.bench.contestants import CONTESTANTS

    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    result = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is not the result
    try:
        if "RLlib" in name or name == "mec-rllib":
            _start_ray(1 + arguments.get("runners", 0))
        answer = CONTESTANTS[name](**arguments)._asdict()
    except ImportError as error:
        answer = {"skipped": f"{error.name} is not installed: pip install 'mec-rllib[bench]'"}
    print(json.dumps(answer), file=result)


def _start_ray(cpus: int) -> None:
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
