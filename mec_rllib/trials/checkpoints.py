"""Checkpoints on disk: written whole or not at all, and checked before anything is loaded.

A checkpoint is a folder, named by the number of the report, with a manifest: SHA-256 of every
file, the versions that wrote it, and whose it is. It is written under another name, synced
to disk and renamed: a process that is killed leaves the one before.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, ValidationError

from mec_rllib.errors import ConfigError
from mec_rllib.results.folder import TrialFolder

MANIFEST = "manifest.json"
FORMAT = 1
KEPT = 2  # of a running trial: the newest, and the one before in case the newest is damaged
PACKAGES = ("mec-rllib", "ray", "torch", "numpy")
# What a trial under way is pickled with: another minor version may read it as something else.
PICKLED_WITH = ("ray", "torch", "numpy")


class CheckpointError(ConfigError):
    """A checkpoint that cannot be used; one line that says which, and why."""


class DamagedCheckpointError(CheckpointError):
    """It is not as it was written; the one before may be."""


class Manifest(BaseModel):
    """What a checkpoint says of itself."""

    model_config = ConfigDict(strict=True)

    format: int
    versions: dict[str, str]
    of: dict[str, Any]  # whose it is: strategy, seed, settings
    files: dict[str, str]  # SHA-256 by path


def write_checkpoint(
    trial: TrialFolder,
    number: int,
    save: Callable[[Path], None],
    of: Mapping[str, Any],
    keep: int = KEPT,
) -> Path:
    """Writes a checkpoint into a trial's folder and deletes the oldest.

    Args:
        trial: whose it is.
        number: of the report.
        save: writes the files into the folder that it is given.
        of: whose it is, in JSON's types; `check_origin` compares it.
        keep: checkpoints that stay.
    """
    target = trial.checkpoint(number)
    for left in trial.unfinished_checkpoints:  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = trial.temporary(target)
    temporary.mkdir(parents=True)
    try:
        save(temporary)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        manifest = Manifest(
            format=FORMAT,
            versions={name: version(name) for name in PACKAGES},
            of=dict(of),
            files={str(path.relative_to(temporary)): _digest(path) for path in files},
        )
        text = manifest.model_dump_json(indent=1) + "\n"
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        for path in [*files, temporary / MANIFEST, temporary]:
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)  # left by a run that was resumed before it
        temporary.rename(target)
        _sync(trial.path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in trial.checkpoints[keep:]:
        shutil.rmtree(old)
    return target


def check_checkpoint(path: Path) -> Manifest:
    """Compares a checkpoint with its manifest; reads, but loads nothing.

    Raises:
        DamagedCheckpointError: it is not as it was written.
        CheckpointError: it is of a newer format.
    """
    try:
        text = (path / MANIFEST).read_bytes()
        written_as = json.loads(text)["format"]
    except FileNotFoundError:
        raise DamagedCheckpointError(f"checkpoint {path}: has no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise DamagedCheckpointError(f"checkpoint {path}: its {MANIFEST} is damaged") from None
    if isinstance(written_as, int) and written_as > FORMAT:
        raise CheckpointError(f"checkpoint {path}: format {written_as} is of a newer mec-rllib")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError:
        raise DamagedCheckpointError(f"checkpoint {path}: its {MANIFEST} is damaged") from None
    for name, digest in manifest.files.items():
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise DamagedCheckpointError(f"checkpoint {path}: {name!r} lies outside of it")
        if not (path / name).is_file():
            raise DamagedCheckpointError(f"checkpoint {path}: {name} is missing")
        if _digest(path / name) != digest:
            raise DamagedCheckpointError(f"checkpoint {path}: {name} is damaged")
    there = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    if unknown := there - {MANIFEST, *manifest.files}:
        raise DamagedCheckpointError(f"checkpoint {path}: {min(unknown)} does not belong to it")
    return manifest


def check_origin(path: Path, manifest: Manifest, of: Mapping[str, Any]) -> None:
    """Checks that a whole checkpoint is ours to go on from.

    Raises:
        CheckpointError: of another trial, of other settings, or of other versions.
    """
    wanted = json.loads(json.dumps(of))
    if difference := first_difference(manifest.of, wanted):
        key, written, here = difference
        raise CheckpointError(f"checkpoint {path}: was written for {key} {written}, here: {here}")
    for name in PICKLED_WITH:
        written, here = manifest.versions.get(name, "none"), version(name)
        if _minor(written) != _minor(here):
            raise CheckpointError(
                f"checkpoint {path}: was written with {name} {written}, here is {here}; "
                f"install {name}=={written} to go on"
            )


def newest_good_checkpoint(
    trial: TrialFolder, of: Mapping[str, Any], warn: Callable[[str], None]
) -> Path | None:
    """The newest intact checkpoint of a trial; warns about each damaged one that it skips.

    Returns:
        None if the trial has no checkpoint yet.

    Raises:
        CheckpointError: all of them are damaged, or one is not ours to go on from.
    """
    found = trial.checkpoints
    for path in found:
        try:
            manifest = check_checkpoint(path)
        except DamagedCheckpointError as error:
            warn(f"{error}; looking for the one before")
        else:
            check_origin(path, manifest, of)
            return path
    if found:
        raise CheckpointError(
            f"{trial.path}: none of its checkpoints is whole; delete the folder to start anew"
        )
    return None


def checkpoint_at(place: Path) -> tuple[Path, Manifest]:
    """A checkpoint by its path, or the newest one in the folder of a trial; checked.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = next(iter(TrialFolder(place).checkpoints), place)
    if not path.is_dir():
        raise CheckpointError(f"{place}: holds no checkpoint")
    return path, check_checkpoint(path)


def first_difference(one: Any, other: Any, key: str = "") -> tuple[str, str, str] | None:
    """The first place in which two trees of JSON differ: its key, and what is there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*other, *(name for name in one if name not in other)]:
            inner = f"{key}.{name}" if key else str(name)
            difference = first_difference(one.get(name), other.get(name), inner)
            if difference:
                return difference
        return None
    return None if one == other else (key, json.dumps(one)[:60], json.dumps(other)[:60])


def _minor(text: str) -> tuple[int, ...]:
    try:
        return Version(text).release[:2]
    except InvalidVersion:
        return ()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
