"""The learner on RLlib's new API stack: runner, replay, learner, algorithm."""
