"""RLlib callbacks: the training gate and the metrics of a run."""
