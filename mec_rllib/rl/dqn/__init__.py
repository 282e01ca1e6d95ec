"""DQN under a training gate: its config and algorithm, its learners, its networks."""
