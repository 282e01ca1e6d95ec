"""Folders of experiments and suites: the one place that knows what their files are called.

config.yaml             the whole config, as the experiment began
study.json              its strategies, resolved
traces.json             what was done to the traces that it plays, if it does
search/, pretrained/    folders like this one: what ran before it
LABEL_seedN/            a trial: result.json (its reports), error.txt, TensorBoard's events,
                        progress.csv, checkpoint_NNNNNN/, probe.json (what `probe` has seen)
summary.json, report.html, report.md, *.png     what `report` writes

Of a suite:

suite.yaml              the suite as it began, for the experiments beside it
LABEL/                  an experiment, as above
summary.json, report.html, report.md            what `report` writes
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mec_rllib.errors import ConfigError
from mec_rllib.files import write_json, write_whole
from mec_rllib.yaml_text import dump_yaml

STUDY_FORMAT = 1


class TrialFolder:
    """The folder of one trial."""

    def __init__(self, path: Path):
        self.path, self.name = path, path.name
        self.results = path / "result.json"
        self.errors = path / "error.txt"
        self.probe = path / "probe.json"

    @property
    def checkpoints(self) -> list[Path]:
        """Its checkpoints, newest first."""
        return sorted(self.path.glob("checkpoint_*"), reverse=True)

    def checkpoint(self, number: int) -> Path:
        """Where the checkpoint of the report with this number lies."""
        return self.path / f"checkpoint_{number:06d}"

    @staticmethod
    def number(checkpoint: Path) -> int:
        """Of the report after which a checkpoint was written."""
        return int(checkpoint.name.rpartition("_")[2])

    def temporary(self, checkpoint: Path) -> Path:
        """Where a checkpoint is written before it gets its name."""
        return self.path / f".{checkpoint.name}.tmp"

    @property
    def unfinished_checkpoints(self) -> Iterable[Path]:
        """Checkpoints that never got their names."""
        return self.path.glob(".checkpoint_*.tmp")

    @property
    def written_anew(self) -> Iterable[Path]:
        """What is made from its reports when it goes on: tables and TensorBoard's events."""
        return [*self.path.glob("progress.csv"), *self.path.glob("events.out.tfevents.*")]


class _Reported:
    """A folder that a report is written into."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.summary = self.path / "summary.json"
        self.report_html = self.path / "report.html"
        self.report_md = self.path / "report.md"


class Folder(_Reported):
    """The folder of an experiment, which need not exist yet."""

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.config = self.path / "config.yaml"
        self.study = self.path / "study.json"
        self.traces = self.path / "traces.json"

    def picture(self, name: str) -> Path:
        """A picture of the report."""
        return self.path / f"{name}.png"

    @property
    def search(self) -> "Folder":
        """Where its search ran; `search.json` and `samples.jsonl` are in there."""
        return Folder(self.path / "search")

    @property
    def pretrained(self) -> "Folder":
        """Where the policies were trained that its strategies start from."""
        return Folder(self.path / "pretrained")

    @property
    def search_result(self) -> Path:
        """What a search has found; of a search's folder."""
        return self.path / "search.json"

    @property
    def parameters_of_samples(self) -> list[Path]:
        """What each sample of a search tries; of a search's folder."""
        return sorted(self.path.glob("sample_*/params.json"))

    @property
    def samples(self) -> Path:
        """A line for each sample of a search that is over; of a search's folder."""
        return self.path / "samples.jsonl"

    def trial(self, strategy: str, seed: int) -> TrialFolder:
        """The folder of a trial."""
        return TrialFolder(self.path / trial_name(strategy, seed))

    @property
    def is_begun(self) -> bool:
        """Whether an experiment, or its search, was begun here."""
        return self.config.is_file() or self.search.config.is_file()

    def check_begun(self) -> None:
        """Raises ConfigError if neither an experiment nor its search was begun here."""
        if not self.is_begun:
            self.check()

    def check(self) -> None:
        """Raises ConfigError if the folder holds no experiment."""
        if not self.config.is_file():
            raise ConfigError(f"{self.path}: holds no experiment (no {self.config.name})")

    def write(
        self,
        config: Mapping[str, Any],
        strategies: list[dict[str, Any]],
        traces: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Begins an experiment: its config, resolved strategies and traces, as plain data."""
        self.path.mkdir(parents=True, exist_ok=True)
        if traces:
            write_json(self.traces, {"traces": list(traces)})
        write_json(self.study, {"format": STUDY_FORMAT, "strategies": strategies})
        write_whole(self.config, dump_yaml(config))


class SuiteFolder(_Reported):
    """The folder of a suite, which need not exist yet."""

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.config = self.path / "suite.yaml"

    @property
    def is_begun(self) -> bool:
        """Whether a suite was begun here."""
        return self.config.is_file()

    def world(self, label: str) -> Folder:
        """The folder of one of its experiments."""
        return Folder(self.path / label)

    def write(self, config: Mapping[str, Any]) -> None:
        """Begins a suite, whose experiments have begun: its config, as plain data."""
        write_whole(self.config, dump_yaml(config))


def trial_name(strategy: str, seed: int) -> str:
    """Name of a trial, and of its folder."""
    return f"{strategy}_seed{seed}"
