"""What does RLlib's own DQN make of the environment, with training for free and no masks?

python -m examples.stock_rllib
"""

from typing import Any

from ray.rllib.algorithms.dqn import DQNConfig

import mec_rllib  # noqa: F401 registers MecScheduling-v0, with RLlib, too


def main(iterations: int = 10) -> dict[str, Any]:
    """Trains it; an action that does not fit starts nothing."""
    config = (
        DQNConfig()
        .environment("MecScheduling-v0", env_config={"load": 0.3})
        .env_runners(num_env_runners=0, rollout_fragment_length=200)
        .training(num_steps_sampled_before_learning_starts=200, train_batch_size=32)
    )
    algorithm = config.build_algo()
    for _ in range(iterations):
        result = algorithm.train()
    print("slots", result["num_env_steps_sampled_lifetime"])
    algorithm.stop()
    return result


if __name__ == "__main__":
    main()
