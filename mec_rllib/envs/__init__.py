"""The world's Gymnasium face: configuration, observation, single and vector environment."""
