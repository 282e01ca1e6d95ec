"""What does an agent of stable-baselines3 make of the environment? MaskablePPO, training for free.

pip install sb3-contrib
python -m examples.stable_baselines
"""

import numpy as np
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_util import make_vec_env

import mec_rllib


def main(slots: int = 20_000, servers: int = 4) -> float:
    """Trains it on some servers; the mean reward of a slot in 1,000 greedy ones on another."""
    env = make_vec_env(mec_rllib.ENV_ID, n_envs=servers, seed=0, env_kwargs={"load": 0.6})
    agent = MaskablePPO("MlpPolicy", env, n_steps=min(512, slots // servers), seed=0)
    agent.learn(slots)
    server = make_vec_env(mec_rllib.ENV_ID, seed=1000, env_kwargs={"load": 0.6})
    observation, rewards = server.reset(), []
    for _ in range(1_000):
        masks = np.array(server.env_method("action_masks"))
        action, _ = agent.predict(observation, action_masks=masks, deterministic=True)
        observation, reward, *_ = server.step(action)
        rewards.append(reward[0])
    print("reward of a slot", np.mean(rewards))
    return float(np.mean(rewards))


if __name__ == "__main__":
    main()
