"""A server of a large language model: what a request takes of it, from its tokens."""

import numpy as np
import pandas as pd
from pydantic import Field

from mec_rllib.importers.base import Found, Importer, Jobs, at_most_one, interactive_where
from mec_rllib.sim.jobs import Floats

MOST_TOKENS = 1e9


class LLMRequests(Importer):
    """Assumptions about the server (reconstructed; measure yours).

    A request is served for prompt / prefill_tokens_per_s + generated * ms_per_token / 1000 seconds,
    and holds (prompt + generated) / cache_tokens of the server's key-value cache meanwhile.
    """

    prefill_tokens_per_s: float = Field(
        8000.0, gt=0, le=1e9, description="prompt tokens that are read per second"
    )
    ms_per_token: float = Field(
        25.0, ge=0, le=1e6, description="milliseconds per token that is generated"
    )
    cache_tokens: float = Field(
        131_072.0,
        ge=1,
        le=1e12,
        description="tokens that the server's key-value cache holds; a request demands its share",
    )
    interactive_tokens: float = Field(
        256.0,
        ge=0,
        description="requests that generate at most so many tokens are interactive, others elastic",
    )

    def served(
        self, arrival: Floats, prompt: Floats, generated: Floats, found: Found, new: Floats
    ) -> Jobs:
        """Requests as jobs.

        Args:
            arrival: (n,) seconds.
            prompt: (n,) tokens.
            generated: (n,) tokens.
            found: counts.
            new: (n,) tokens of the prompt that have to be read.
        """
        found.leave_out(prompt + generated == 0, "without tokens")
        duration = new / self.prefill_tokens_per_s + generated * self.ms_per_token / 1000.0
        found.leave_out(duration <= 0, "that take no time")
        share = (prompt + generated) / self.cache_tokens
        share = at_most_one(share, found, f"the {self.cache_tokens:,.0f} tokens of the cache")
        table = {
            "arrival_s": arrival,
            "duration_s": duration,
            "demand": share,
            "job_class": interactive_where(generated <= self.interactive_tokens),
        }
        return self.finished(pd.DataFrame(table), found)


def is_no_count(values: Floats) -> np.ndarray:
    """What is no number of tokens."""
    return (values < 0) | (values > MOST_TOKENS) | (values != np.floor(values))
