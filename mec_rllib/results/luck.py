"""What another stretch of a recording might have brought: block bootstrap over time.

On a recording the jobs are the same for every seed, so an interval over seeds knows the luck of the
agent only. Here the gap of two learning curves, mean over the seeds, is drawn anew in blocks of
neighbouring reports, which keeps what neighbours have in common. Circular blocks: Politis and
Romano (1992). R of a report counts as much as that of any other, however many jobs it had.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mec_rllib.results.measures import Finished, window_rewards
from mec_rllib.results.stats import CONFIDENCE, Interval, Values, known
from mec_rllib.results.stored import StoredStudy
from mec_rllib.results.tables import Section, text
from mec_rllib.sim.streams import Purpose, generator

BLOCK = 0.1  # of the reports, in a block
RESAMPLES = 2000
ENOUGH = 5  # reports to draw from


def over_time(gap: Values, block: float = BLOCK) -> Interval:
    """Mean of a series in time with its 95 % interval by circular block bootstrap.

    Args:
        gap: by report, in order; NaN where there is none.
        block: length of a block, as a share of the series.
    """
    x = np.asarray(gap, float)
    if len(there := known(x)) < ENOUGH:
        return Interval(float(there.mean()) if len(there) else np.nan, np.nan, np.nan)
    length = max(1, round(block * len(x)))
    rng = generator(0, Purpose.BOOTSTRAP)
    starts = rng.integers(len(x), size=(RESAMPLES, -(-len(x) // length)))
    places = (starts[:, :, None] + np.arange(length)) % len(x)
    means = np.nanmean(x[places.reshape(RESAMPLES, -1)[:, : len(x)]], axis=1)
    low, high = np.nanquantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(np.nanmean(x)), float(low), float(high))


def luck_section(study: StoredStudy) -> Section:
    """The differences that are claimed over the lifetime; without rows but on a trace."""
    claims = study.config.get("claims", []) if study.setting("env.workload") == "trace" else []
    finished = Finished(study)
    rows = [row for claim in claims if (row := _row(claim, finished))]
    note = (
        "Whether another stretch of this recording would have said the same: the gap of the "
        "learning curves, mean over the seeds, with a 95 % interval by bootstrap over blocks of "
        f"{BLOCK:.0%} of the time. The intervals above are over seeds: they know the luck of the "
        "agent only."
    )
    headings = ("claim", "mean gap over time", "95 % block bootstrap")
    return Section("The luck of the recording", note, headings, rows)


def _row(claim: Mapping[str, Any], finished: Finished) -> list[str]:
    of = claim["of"]
    if claim["measure"] != "difference" or of.get("metric", "reward_lifetime") != "reward_lifetime":
        return []
    gaps = [
        window_rewards(a) - window_rewards(b) for a, b in finished.of(of["better"], of["worse"])
    ]
    if not gaps or len({len(gap) for gap in gaps}) > 1:
        return []
    counts = np.isfinite(gaps).sum(axis=0)
    mean = np.where(counts, np.nansum(gaps, axis=0) / np.maximum(counts, 1), np.nan)
    found = over_time(mean)
    low, high = (text(bound, "+.3f") for bound in (found.low, found.high))
    return [claim["text"], text(found.mean, "+.3f"), f"[{low}, {high}]"]
