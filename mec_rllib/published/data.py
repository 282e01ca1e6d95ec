"""The data file of a study: all that its page is written from, in at most 300 kB.

`NAME.json.gz` holds the resolved config, the strategies, a row per trial, thinned curves, the
values of claims that only whole curves can tell, and who played it: versions, commit, kind of host,
minutes.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from mec_rllib.config.study import Study
from mec_rllib.errors import ConfigError
from mec_rllib.files import finite, number
from mec_rllib.published.curves import POINTS, reports_of, short, thinned
from mec_rllib.published.identity import made_of, stale_by
from mec_rllib.results.claims import Measured, measured
from mec_rllib.results.folder import Folder
from mec_rllib.results.gate_health import Finding, examine
from mec_rllib.results.stats import Values
from mec_rllib.results.stored import StoredStudy, TrialResults, strategies_of
from mec_rllib.results.traces import kept_traces

FORMAT = 1
LARGEST = 300_000  # bytes of a file
ALL_TOGETHER = 5_000_000  # bytes of all files
ROW_DIGITS = 7  # significant, of figures in rows
NOT_KEPT = ("node",)  # of a row: names of machines


class DataFile:
    """What was played of a unit.

    Args:
        content: of the file.
    """

    def __init__(self, content: Mapping[str, Any]):
        self.content = content

    @classmethod
    def of(cls, study: Study, played: StoredStudy, origin: Mapping[str, Any]) -> "DataFile":
        """What an experiment leaves behind; the curves are as fine as the size allows."""
        points = POINTS
        while True:
            found = cls(_content(study, played, points) | dict(origin))
            if len(found.to_bytes()) <= LARGEST or points <= 2:
                return found
            points //= 2

    @classmethod
    def read(cls, path: Path) -> "DataFile | None":
        """The file; None: there is none.

        Raises:
            ConfigError: it is damaged.
        """
        if not path.is_file():
            return None
        try:
            content = json.loads(gzip.decompress(path.read_bytes()))
            if content["format"] != FORMAT:
                raise ValueError("another format")
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: is no data file of this version ({error})") from None
        return cls(content)

    def write(self, path: Path) -> None:
        """Writes it; the same content gives the same bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(self.to_bytes())
        temporary.replace(path)

    def to_bytes(self) -> bytes:
        """The file, compressed."""
        text = json.dumps(finite(self.content), separators=(",", ":"))
        return gzip.compress(text.encode(), 9, mtime=0)

    def stale_by(self, study: Study) -> str | None:
        """What differs from what would be played now; None: nothing does."""
        return stale_by(self.content, study)

    def study(self, asked: Mapping[str, Any]) -> StoredStudy:
        """The experiment as it would be read back from its folder, with thinned curves.

        Args:
            asked: what it is asked, `claims` and `compare` of the config as it is now.
        """
        config = {**self.content["config"], **asked}
        strategies = strategies_of(self.content["strategies"], config)
        learns = {s.label: s.learns for s in strategies}
        trials = []
        for row, curves in zip(self.content["rows"], self.content["curves"], strict=True):
            whole = {"slots": self.content["slots"], **curves}
            reports = reports_of(whole, learns[row["strategy"]])
            trials.append(
                TrialResults(
                    row["strategy"], row["seed"], [*reports[:-1], reports[-1] | {"row": row}]
                )
            )
        return StoredStudy(Folder("."), config, strategies, tuple(trials))

    def measured(self, study: StoredStudy) -> list[Measured]:
        """The claims of a study with a value per seed, whole curves first."""
        kept = {
            _key(entry): [number(v) for v in entry["values"]] for entry in self.content["measured"]
        }
        return [(claim, kept.get(_key(claim), values)) for claim, values in measured(study)]

    @property
    def findings(self) -> list[Finding]:
        """What was wrong with the gates, seen on whole curves."""
        return [Finding(*finding) for finding in self.content["findings"]]


def _content(study: Study, played: StoredStudy, points: int) -> dict[str, Any]:
    trials = [trial for trial in played.trials if trial.is_finished]
    curves = [thinned(trial, points) for trial in trials]
    slots = curves[0]["slots"] if curves else []
    content = {
        "format": FORMAT,
        **made_of(study),
        "config": _without_folders({k: v for k, v in played.config.items() if k != "claims"}),
        "strategies": study_strategies(played),
        "rows": [_row(trial.row) for trial in trials],
        "slots": slots,
        "curves": [{k: v for k, v in c.items() if k != "slots" or v != slots} for c in curves],
        "findings": [list(finding) for finding in examine(played)],
        "traces": [_trace(trace) for trace in kept_traces(played.folder)],
        "minutes": round(sum(number(trial.row["wall_s"]) for trial in trials) / 60, 1),
    }
    return content | {"measured": _of_whole_curves(DataFile(content | {"measured": []}), played)}


def _of_whole_curves(thin: DataFile, played: StoredStudy) -> list[dict[str, Any]]:
    """The values of claims that thinned curves would tell otherwise."""
    asked = {"claims": played.config.get("claims", [])}
    found = {_key(claim): values for claim, values in measured(thin.study(asked))}
    return [
        {
            "measure": claim["measure"],
            "of": claim["of"],
            "values": [short(v, ROW_DIGITS) for v in values],
        }
        for claim, values in measured(played)
        if not _alike(values, found.get(_key(claim), []))
    ]


def _alike(one: Values, other: Values) -> bool:
    return len(one) == len(other) and np.allclose(one, other, atol=1e-5, equal_nan=True)


def _key(claim: Mapping[str, Any]) -> str:
    return json.dumps([claim["measure"], claim["of"]], sort_keys=True)


def study_strategies(played: StoredStudy) -> list[dict[str, Any]]:
    """The strategies as `study.json` has them."""
    return json.loads(played.folder.study.read_text(encoding="utf-8"))["strategies"]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _short(v) for k, v in row.items() if k not in NOT_KEPT}


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _short(inner) for key, inner in value.items()}
    return short(value, ROW_DIGITS) if isinstance(value, float) else value


def _trace(trace: Mapping[str, Any]) -> dict[str, Any]:
    name = PurePath(trace["path"]).name
    lines = {"line": trace["line"].replace(trace["path"], name)}
    warnings = [warning.replace(trace["path"], name) for warning in trace["warnings"]]
    return {**trace, **lines, "warnings": warnings, "path": name}


def _without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    env = config["env"]
    if not env.get("trace"):
        return dict(config)
    name = PurePath(env["trace"]["path"]).name
    return {**config, "env": {**env, "trace": {**env["trace"], "path": name}}}


def asked_of(study: Study) -> dict[str, Any]:
    """What an experiment is asked, but not made of: it may change, and nothing is played again."""
    return study.experiment.model_dump(mode="json", include={"claims", "compare"})


def asked_anew(played: StoredStudy, study: Study) -> StoredStudy:
    """The same experiment, asked what its config asks now."""
    return replace(played, config={**played.config, **asked_of(study)})
