"""Claims of the source, decided from rows paired by seed; `docs/claims.md` lists the tests."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mec_rllib.experiments.stats import interval, verdict


class Claim(NamedTuple):
    """`better` minus `worse` in `metric`, paired by seed, is above `margin`."""

    id: str
    text: str
    better: str
    worse: str
    metric: str
    margin: float = 0.0


METRIC_NAMES = {
    "reward_lifetime": "lifetime",
    "reward_last20": "last 20 %",
    "reward_greedy": "greedy",
}


def _claims() -> list[Claim]:
    claims = []
    for metric, name in METRIC_NAMES.items():
        short = metric.removeprefix("reward_")
        claims += [
            Claim(
                f"ats_near_ideal_{short}",
                f"ATS is within 0.03 of ideal ({name})",
                "ats",
                "ideal",
                metric,
                -0.03,
            ),
            Claim(f"ats_above_sjf_{short}", f"ATS is above SJF ({name})", "ats", "sjf", metric),
        ]
    for other, name in (("pts", "PTS"), ("idle", "idle"), ("server_empty", "server_empty")):
        text = f"ATS is above {name} (lifetime)"
        claims.append(Claim(f"ats_above_{other}", text, "ats", other, "reward_lifetime"))
    return claims


CLAIMS = _claims()


def decide(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every claim whose strategies both have rows; 95 % t-interval over the seeds they share."""
    found = {(row["strategy"], row["seed"]): row for row in rows}
    decided = []
    for claim in CLAIMS:
        seeds = [
            seed
            for strategy, seed in found
            if strategy == claim.better and (claim.worse, seed) in found
        ]
        if not seeds:
            continue
        difference = interval(
            [
                found[claim.better, seed][claim.metric] - found[claim.worse, seed][claim.metric]
                for seed in seeds
            ]
        )
        decided.append(
            {
                "id": claim.id,
                "text": claim.text,
                "verdict": verdict(difference, claim.margin),
                "estimate": difference.mean,
                "ci95": [difference.low, difference.high],
                "n": len(seeds),
            }
        )
    return decided
