"""SAC and PPO under a training gate: their configs and algorithms, learners and networks."""
