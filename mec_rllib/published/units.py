"""What is published: every shipped experiment, every world of a suite, and those on recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from mec_rllib.config.study import Study
from mec_rllib.config.study_file import load_study
from mec_rllib.config.suite import Suite, load_config


@dataclass(frozen=True)
class Unit:
    """A study that has a data file of its own.

    Attributes:
        name: of its data file.
        study: what is played.
        world: its label in a suite; "" where it stands alone.
        recording: name of the file that it plays, which is not part of the project.
        is_here: whether it can be played: False where the recording's file is absent.
    """

    name: str
    study: Study
    world: str = ""
    recording: str | None = None
    is_here: bool = True

    def data_in(self, folder: Path) -> Path:
        """Its data file in a folder of them."""
        return folder / f"{self.name}.json.gz"


@dataclass(frozen=True)
class Page:
    """A page of the results: an experiment, or a suite with its worlds.

    Attributes:
        name: of the page and of the text beside it.
        config: file below `tune_configs/`, with what is set beside it.
        units: what it shows.
        claims: about all its worlds; empty where it shows one experiment.
        about: what the config says of itself, in the comment that it begins with.
    """

    name: str
    config: str
    units: Sequence[Unit]
    claims: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    about: str = ""

    @property
    def is_suite(self) -> bool:
        """Whether it shows the worlds of a suite."""
        return bool(self.units[0].world)


def pages(configs: Path, recordings: Path, traces: Path | None = None) -> list[Page]:
    """Everything that is published, by name.

    Args:
        configs: folder of the shipped experiments and suites.
        recordings: file that lists the experiments on recordings.
        traces: folder with the recordings; None: none is here.

    Raises:
        ConfigError: a bad config.
    """
    found = [_page(path) for path in sorted(configs.glob("*.yaml"))]
    listed = yaml.safe_load(recordings.read_text(encoding="utf-8")) if recordings.is_file() else []
    found += [_on_recording(entry, configs, traces) for entry in listed]
    return sorted(found, key=lambda page: page.name)


def _page(path: Path) -> Page:
    name, found, about = path.stem, load_config(path), _about(path)
    if not isinstance(found, Suite):
        return Page(name, path.name, [Unit(name, found)], about=about)
    units = [Unit(f"{name}.{label}", study, label) for label, study in found.worlds.items()]
    claims = [claim.model_dump(mode="json") for claim in found.claims]
    return Page(name, path.name, units, claims, about)


def _about(path: Path) -> str:
    """The comment at the top, up to the command that plays the file."""
    lines = takewhile(lambda line: line.startswith("# "), path.read_text("utf-8").splitlines())
    words = (line.removeprefix("# ") for line in lines)
    return "\n".join(takewhile(lambda line: "mec-rllib tune" not in line, words))


def _on_recording(entry: Mapping[str, Any], configs: Path, traces: Path | None) -> Page:
    file = entry["file"]
    path = (traces or Path()) / file
    given = {"env.trace.path": str(path), **entry.get("set", {})}
    sets = [
        f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in given.items()
    ]
    study = load_study(configs / f"{entry['config']}.yaml", [s.removesuffix("...\n") for s in sets])
    shown = {"env.trace.path": file, **entry.get("set", {})}
    config = f"{entry['config']}.yaml, " + ", ".join(
        f"{key}={value}" for key, value in shown.items()
    )
    is_here = traces is not None and path.is_file()
    unit = Unit(entry["name"], study, recording=file, is_here=is_here)
    return Page(entry["name"], config, [unit], about=_about(configs / f"{entry['config']}.yaml"))
