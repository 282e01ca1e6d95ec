"""Where experience waits for training: prioritized, of afterstates, n steps ahead, on-policy."""
