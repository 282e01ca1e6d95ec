"""The study that a config file describes, and what `--set` makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mec_rllib.config.load import build, read_values, with_overrides
from mec_rllib.config.strategies import resolve
from mec_rllib.config.study import Study
from mec_rllib.config.usage import check_usage


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """The study that a config file and `--set` overrides describe.

    A key of the file is judged by the strategies of the file, a key that is overridden by those
    that are left. A claim of the file is about what a strategy is, not about its label: where an
    override gives the label to another strategy, the claim is left out, and `notes` says so.

    Raises:
        ConfigError: a bad file or override, a strategy that leads nowhere, a key that nobody uses.
    """
    values, source = read_values(path), str(path)
    experiment = build(with_overrides(values, overrides), source)
    study = resolve(experiment)
    for override in overrides:
        check_usage(with_overrides({}, [override]), study, f"--set {override}")
    if not any(override.lstrip().startswith("strategies") for override in overrides):
        check_usage(values, study, source)
        return replace(study, written=tuple(study.by_label))
    written = resolve(
        experiment.model_copy(update={"strategies": build(values, source).strategies})
    )
    check_usage(values, written, source)
    return _with_claims_that_hold(study, written, source)


def _with_claims_that_hold(study: Study, written: Study, source: str) -> Study:
    """Without the claims about labels that mean another strategy than in the file."""
    before = written.by_label
    changed = {
        label
        for label, strategy in study.by_label.items()
        if label in before and strategy.identity != before[label].identity
    }
    claims = study.experiment.claims
    kept = [claim for claim in claims if not changed & set(_words_in(claim.of))]
    notes: tuple[str, ...] = ()
    if left_out := [claim.id for claim in claims if claim not in kept]:
        reason = f"{', '.join(sorted(changed))} is not what it is in {source}"
        notes = (f"claims are left out, for {reason}: {', '.join(left_out)}",)
    experiment = study.experiment.model_copy(update={"claims": kept})
    return replace(study, experiment=experiment, written=tuple(before), notes=notes)


def _words_in(values: Any) -> list[str]:
    """All texts among the values of a claim: labels are among them."""
    if isinstance(values, Mapping):
        return [word for value in values.values() for word in _words_in(value)]
    if isinstance(values, list):
        return [word for value in values for word in _words_in(value)]
    return [values] if isinstance(values, str) else []
