"""The study that a config file describes, and what `--set` makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mec_rllib.config.claims import ClaimConfig
from mec_rllib.config.experiment import Experiment
from mec_rllib.config.load import Override, build, parse_override, read_values, with_overrides
from mec_rllib.config.shipped import config_file
from mec_rllib.config.strategies import resolve
from mec_rllib.config.study import Strategy, Study
from mec_rllib.config.usage import check_usage
from mec_rllib.errors import ConfigError


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """The study that a config file (or a shipped config, by name) and `--set` describe.

    A key of the file is good if the strategies use it in the file alone, or after the overrides;
    one that is overridden is judged by the strategies that are left. A claim of the file is about
    what a strategy is, not about its label: where an override gives the label to another strategy,
    the claim is left out, and `notes` says so.

    Raises:
        ConfigError: a bad file or override, a strategy that leads nowhere, a key that nobody uses.
    """
    given = [parse_override(text) for text in overrides]
    path = config_file(path)
    study = study_of(read_values(path), str(path), given)
    check_overrides(given, study)
    return study


def check_overrides(overrides: Sequence[Override], study: Study) -> None:
    """Raises ConfigError if no strategy of the study uses an override."""
    for override in overrides:
        check_usage(with_overrides({}, [override]), study.strategies, override.source)


def study_of(values: Mapping[str, Any], source: str, overrides: Sequence[Override]) -> Study:
    """As `load_study`, of the plain values of a file; whether overrides are used is not asked."""
    experiment = build(with_overrides(values, overrides), source)
    study = resolve(experiment)
    written = study
    if any(override.key.startswith("strategies") for override in overrides):
        written = with_strategies_of(study, build(values, source))
    check_usage(values, (*written.strategies, *_strategies_of(values, source)), source)
    if written is study:
        return replace(study, written=tuple(study.by_label))
    changed = changed_labels(study, written)
    kept, notes = claims_that_hold(experiment.claims, changed, source)
    experiment = experiment.model_copy(update={"claims": kept})
    return replace(study, experiment=experiment, written=tuple(written.by_label), notes=notes)


def _strategies_of(values: Mapping[str, Any], source: str) -> tuple[Strategy, ...]:
    """Those of a file alone; none, if it needs its overrides to be an experiment."""
    try:
        return resolve(build(values, source)).strategies
    except ConfigError:
        return ()


def with_strategies_of(study: Study, other: Experiment) -> Study:
    """The study as it would be with the strategies of another experiment."""
    return resolve(study.experiment.model_copy(update={"strategies": other.strategies}))


def changed_labels(study: Study, written: Study) -> set[str]:
    """Labels that mean another strategy than in what was written."""
    before = written.by_label
    return {
        label
        for label, strategy in study.by_label.items()
        if label in before and strategy.identity != before[label].identity
    }


def claims_that_hold(
    claims: Sequence[ClaimConfig], changed: set[str], source: str
) -> tuple[list[ClaimConfig], tuple[str, ...]]:
    """The claims that are not about changed labels; a note, if there are others."""
    kept = [claim for claim in claims if not changed & set(_words_in(claim.of))]
    if left_out := [claim.id for claim in claims if claim not in kept]:
        reason = f"{', '.join(sorted(changed))} is not what it is in {source}"
        return kept, (f"claims are left out, for {reason}: {', '.join(left_out)}",)
    return kept, ()


def _words_in(values: Any) -> list[str]:
    """All texts among the values of a claim: labels are among them."""
    if isinstance(values, Mapping):
        return [word for value in values.values() for word in _words_in(value)]
    if isinstance(values, list):
        return [word for value in values for word in _words_in(value)]
    return [values] if isinstance(values, str) else []
