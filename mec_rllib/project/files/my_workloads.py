"""Where jobs come from: a workload of your own."""

import numpy as np

from mec_rllib.sim.jobs import Jobs


class Cameras:
    """Cameras that send a picture every `every` slots, and now and then a long video.

    The arguments of the constructor are `env.workload_args` in a config.
    """

    class_names = ("picture", "video")
    capacity = (8,)  # units of the server, one number for each resource kind
    max_execution, max_slack, max_weight = 12, 40, 3.0
    length = None  # endless

    def __init__(self, cameras: int = 6, every: int = 12):
        self.cameras, self.every = cameras, every

    def arrivals(self, rng, start, stop):
        """Jobs that arrive in slots start..stop-1, sorted by arrival."""
        slots = np.arange(start, stop)
        sent = (slots[:, None] + 2 * np.arange(self.cameras)) % self.every == 0
        pictures = np.repeat(slots, sent.sum(axis=1))
        videos = slots[rng.random(len(slots)) < 0.03]
        arrival = np.concatenate([pictures, videos])
        is_video = np.arange(len(arrival)) >= len(pictures)
        order = np.argsort(arrival, kind="stable")
        arrival, is_video = arrival[order], is_video[order]
        return Jobs(
            arrival=arrival,
            job_class=is_video.astype(np.int64),
            requirement=np.where(is_video, 4, rng.integers(2, 4, len(arrival)))[:, None],
            execution=np.where(is_video, 12, rng.integers(1, 4, len(arrival))),
            slack=np.where(is_video, 40, 4),
            weight=np.where(is_video, 1.0, 3.0),
        )
