"""When to train: a gate of your own."""

from typing import Annotated

from pydantic import Field

from mec_rllib.gates import Gate


class WhenQuiet(Gate):
    """Trains when the server is empty, and after `longest` slots in any case.

    The arguments of the constructor are the gate's keys in a config.
    """

    def __init__(
        self,
        num_servers: int,
        period: Annotated[int, Field(ge=1, description="slots between two training jobs")] = 50,
        longest: Annotated[int, Field(ge=1, description="slots until it waits no more")] = 200,
    ):
        super().__init__(num_servers)
        self.period, self.longest = period, longest

    def wants(self, view):
        """(N,) whether to insert a training job now, for each of N servers."""
        is_time = view.since_training >= self.period
        return view.can_ask & is_time & (view.is_empty | (view.since_training >= self.longest))
