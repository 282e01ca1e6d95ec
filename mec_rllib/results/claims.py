"""Claims of an experiment, decided from its trials, paired by seed."""

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.results.measures import FORMER, LABEL, MEASURES, UNITS, Finished
from mec_rllib.results.stats import (
    Estimate,
    Interval,
    Values,
    Verdict,
    all_equal,
    estimate,
    holm,
    known,
    verdict,
)
from mec_rllib.results.stored import StoredStudy

Measured = tuple[Mapping[str, Any], Values]  # a claim, and a value per seed


def check_claims(claims: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    """Checks what claims say under `measure` and `of`.

    Args:
        claims: as in the config.
        labels: of the strategies in the config's own file.

    Raises:
        ConfigError: an unknown measure, key or strategy; the message names the claim.
    """
    for claim in claims:
        place, name = f"claims: {claim['id']}", claim["measure"]
        if name in FORMER:
            raise ConfigError(f"{place}: measure {name} is now {FORMER[name]}")
        if name not in MEASURES:
            raise ConfigError(f"{place}: unknown measure {name!r}; {nearest(name, MEASURES)}")
        signature = inspect.signature(MEASURES[name])
        try:
            signature.bind(None, **claim["of"])
        except TypeError as error:
            raise ConfigError(f"{place}: of: measure {name}: {error}") from None
        for label in labels_in(claim):
            if label not in labels:
                raise ConfigError(
                    f"{place}: of: no strategy is called {label!r}; {nearest(label, labels)}"
                )


def labels_in(claim: Mapping[str, Any]) -> list[str]:
    """Labels of the strategies that a claim is about, where it names them."""
    parameters = inspect.signature(MEASURES[claim["measure"]]).parameters
    found: list[str] = []
    for key, value in claim["of"].items():
        metadata = getattr(parameters[key].annotation, "__metadata__", ())
        if LABEL in metadata and not isinstance(value, Mapping):
            found += [value] if isinstance(value, str) else list(value)
    return found


def decide(study: StoredStudy) -> list[dict[str, Any]]:
    """Every claim that the experiment can say something about.

    The verdict is by the 95 % t-interval over seeds; `holm` says whether it survives the
    Holm-Bonferroni correction for all claims in the list (5 % for the whole family). Where seeds
    have no spread, nothing is decided; `note` says why. `interim`: trials are missing, and whoever
    stops at the first verdict that pleases has tested nothing. Of a folder that was written before
    experiments had claims, those of its summary are shown as they stand there.
    """
    if not study.is_resolved:
        return _stored(study)
    is_running = not all(trial.is_finished for trial in study.trials)
    return [claim | {"interim": is_running} for claim in decided(measured(study))]


def measured(study: StoredStudy) -> list[Measured]:
    """The claims that the experiment can say something about, each with a value per seed."""
    finished, claims = Finished(study), study.config.get("claims", [])
    values = [(c, MEASURES[measure_of(c)](finished, **c["of"])) for c in claims]
    return [(claim, of_claim) for claim, of_claim in values if of_claim]


def decided(claims: Sequence[Measured]) -> list[dict[str, Any]]:
    """What the values of claims say, with Holm's correction for all of them."""
    return with_holm(
        [
            conclude(claim, estimate(values), len(known(values)), why_undecided(values))
            for claim, values in claims
        ]
    )


def measure_of(claim: Mapping[str, Any]) -> str:
    """The measure of a claim, by its name of today."""
    return FORMER.get(claim["measure"], claim["measure"])


def conclude(claim: Mapping[str, Any], found: Estimate, n: int, note: str) -> dict[str, Any]:
    """What an estimate says about a claim.

    Args:
        claim: as in the config.
        found: what the claim is about.
        n: seeds that it rests on.
        note: why nothing is decided; empty where something is.
    """
    mean, low, high = found.interval
    return {
        "id": claim["id"],
        "text": claim["text"],
        "verdict": _verdict(found.interval, claim["margin"], claim["below"]),
        "estimate": mean,
        "ci95": [low, high],
        "margin": claim["margin"],
        "is_below": claim["below"],
        "unit": UNITS[measure_of(claim)],
        "n": n,
        "p": found.p_value(claim["margin"]),
        "detectable": found.detectable,
        "note": note,
    }


def with_holm(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Adds `holm`: whether a test survives the correction for all of them."""
    survivors = holm([entry["p"] for entry in found])
    return [{**entry, "holm": s} for entry, s in zip(found, survivors, strict=True)]


def _stored(study: StoredStudy) -> list[dict[str, Any]]:
    """The claims in the summary of an old folder, with the keys that it does not have."""
    if not study.folder.summary.is_file():
        return []
    summary = json.loads(study.folder.summary.read_text(encoding="utf-8"))
    missing = {"is_below": False, "unit": "R", "note": "", "interim": False}
    return [missing | claim for claim in summary.get("claims", [])]


def _verdict(found: Interval, margin: float, below: bool) -> Verdict:
    if below:
        return verdict(Interval(-found.mean, -found.high, -found.low), -margin)
    return verdict(found, margin)


def why_undecided(values: Values) -> str:
    """Why there is no interval; empty where there is one."""
    if not (n := len(known(values))):
        return "no figures"
    if n == 1:
        return "one seed"
    return f"all {n} seeds equal" if all_equal(values) else ""
