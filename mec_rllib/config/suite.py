"""A suite: experiments that are played one after the other, and claims about all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import Any

from pydantic import Field

from mec_rllib.config.claims import ClaimConfig, Claims
from mec_rllib.config.load import (
    Override,
    build,
    checked,
    parse_override,
    read_values,
    with_overrides,
)
from mec_rllib.config.shipped import FOLDER, config_file
from mec_rllib.config.shipped import names as shipped_names
from mec_rllib.config.strategies import check_label
from mec_rllib.config.study import Study
from mec_rllib.config.study_file import (
    changed_labels,
    check_overrides,
    claims_that_hold,
    study_of,
    with_strategies_of,
)
from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.section import Name, Section

SUFFIXES = (".yaml", ".yml")
# What the folder of a suite, or of an experiment, may hold beside the folders of its worlds.
NO_LABELS = ("search", "pretrained")
NO_LABEL_SUFFIXES = (*SUFFIXES, ".json", ".md", ".html", ".png")


class WorldConfig(Section):
    """One experiment of a suite."""

    config: str = Field(
        min_length=1,
        description="the experiment: a file, relative to that of the suite, or the name of a "
        "shipped config; .yaml may be left out",
    )
    set: dict[str, Any] = Field(
        default_factory=dict,
        description="dotted keys that differ from the file, as --set takes them: {env.load: 0.6}",
    )
    label: str | None = Field(
        None,
        min_length=1,
        description="its name in the suite, and its folder; null = the name of the file",
    )


class SuiteConfig(Section):
    """Everything a suite is: the root of its file."""

    name: Name = Field("suite", description="what reports say")
    suite: list[WorldConfig] = Field(min_length=1, description="the experiments, its worlds")
    claims: Claims = Field(
        default_factory=list,
        description="what the suite is to decide: as an experiment's claims, the mean over all "
        "its worlds",
    )


@dataclass(frozen=True)
class Suite:
    """A suite, resolved.

    Attributes:
        name: what reports say.
        worlds: its experiments by their labels, in the order in which they are played.
        claims: about all of them.
        written: labels of each world's strategies in the suite's files, whatever was overridden.
        notes: what was left out of the files, and why.
    """

    name: str
    worlds: Mapping[str, Study]
    claims: Sequence[ClaimConfig]
    written: Mapping[str, Sequence[str]]
    notes: Sequence[str] = ()

    def to_config(self) -> dict[str, Any]:
        """The suite as a config beside the folders of its worlds, plain."""
        return {
            "name": self.name,
            "suite": [
                {"config": f"{label}/config.yaml", "set": {}, "label": label}
                for label in self.worlds
            ],
            "claims": [claim.model_dump(mode="json") for claim in self.claims],
        }


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Study | Suite:
    """The study or the suite that a config file and `--set` overrides describe.

    Raises:
        ConfigError: what `load_study` and `suite_of` refuse.
    """
    path = config_file(path)
    values = read_values(path)
    given = [parse_override(text) for text in overrides]
    if "suite" in values:
        return suite_of(values, Path(path), given)
    study = study_of(values, str(path), given)
    check_overrides(given, study)
    return study


def load_suite(path: str | Path, overrides: Sequence[str] = ()) -> Suite:
    """The suite that a file and `--set` overrides describe.

    Raises:
        ConfigError: as `suite_of`.
    """
    path = config_file(path)
    values = read_values(path)
    if "suite" not in values:
        raise ConfigError(f"{path}: is an experiment and no suite; load it with mec_rllib.Study")
    return suite_of(values, Path(path), [parse_override(text) for text in overrides])


def suite_of(values: Mapping[str, Any], path: Path, overrides: Sequence[Override]) -> Suite:
    """The suite that the plain values of a file describe.

    Args:
        values: of the file.
        path: of the file: its experiments are looked up from there.
        overrides: set in every experiment, after the suite's own `set`.

    Raises:
        ConfigError: an unknown key, a missing file, a bad label, a suite in a suite, or what is
            wrong with an experiment; one line that names the place.
    """
    config = checked(SuiteConfig, values, str(path))
    for override in overrides:
        if override.key.partition(".")[0] == "suite":
            raise ConfigError(
                f"{override.source}: changes keys of the experiments, not of their suite"
            )
    worlds: dict[str, Study] = {}
    written: dict[str, Study] = {}
    for k, world in enumerate(config.suite):
        place = f"{path}: suite.{k}"
        file = _file(world.config, path.parent, place)
        label = _label(world.label or file.stem, place, worlds)
        try:
            worlds[label], written[label] = _load_world(world, label, file, overrides)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from None
    changed = [changed_labels(worlds[label], written[label]) for label in worlds]
    claims, notes = claims_that_hold(config.claims, set().union(*changed), str(path))
    return Suite(
        config.name,
        worlds,
        claims,
        {label: tuple(study.by_label) for label, study in written.items()},
        [*(f"{label}: {note}" for label, w in worlds.items() for note in w.notes), *notes],
    )


def _label(label: str, place: str, taken: Mapping[str, Any]) -> str:
    """The label of a world, once it is good: it names a folder."""
    check_label(label, place)
    if label in NO_LABELS or label.endswith(NO_LABEL_SUFFIXES):
        raise ConfigError(f"{place}: label {label!r} may be a file of the report; take another")
    if label in taken:
        raise ConfigError(
            f"{place}: label {label!r} is taken; give it one of its own ({{..., label: {label}2}})"
        )
    return label


def _file(name: str, folder: Path, place: str) -> Path:
    """The file of an experiment, with or without its suffix; or a shipped config of that name."""
    shipped = FOLDER / (name if name.endswith(".yaml") else f"{name}.yaml")
    for path in (folder / name, folder / f"{name}.yaml", shipped):
        # False, too, for what can be no name of a file.
        if isfile(path) and (path is not shipped or path.stem in shipped_names()):
            return path
    known = dict.fromkeys([*sorted(path.stem for path in folder.glob("*.yaml")), *shipped_names()])
    raise ConfigError(f"{place}: config: no file {name!r} in {folder}; {nearest(name, known)}")


def _load_world(
    world: WorldConfig, label: str, file: Path, overrides: Sequence[Override]
) -> tuple[Study, Study]:
    """A world as it is played, and as the suite has it without `--set`."""
    values = read_values(file)
    if "suite" in values:
        raise ConfigError(f"{file}: is a suite, too; a suite holds experiments only")
    own = [Override("name", label, "label")]
    own += [Override(key, value, f"set.{key}") for key, value in world.set.items()]
    study = study_of(values, str(file), [*own, *overrides])
    written = with_strategies_of(study, build(with_overrides(values, own), str(file)))
    check_overrides(own, written)
    check_overrides(overrides, study)
    return study, written
