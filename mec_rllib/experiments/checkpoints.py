"""Checkpoints on disk: written whole or not at all, and checked before anything is loaded.

A checkpoint is a folder `checkpoint_NNNNNN` (the number of the report) with a manifest: size and
SHA-256 of every file, and the versions that wrote it. It is written under another name, synced to
disk and renamed: a process that is killed leaves the one before.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

MANIFEST = "manifest.json"
FORMAT = 1
KEPT = 2  # of a running trial: the newest, and the one before in case the newest is damaged
PACKAGES = ("mec-rllib", "ray", "torch", "numpy")


class CheckpointError(ValueError):
    """A checkpoint that is damaged, foreign or of another version; one line that says which."""


def write_checkpoint(
    folder: Path, number: int, save: Callable[[Path], None], keep: int = KEPT
) -> Path:
    """Writes `checkpoint_<number>` into a trial's folder and deletes the oldest.

    Args:
        folder: of the trial.
        number: of the report.
        save: writes the files into the folder that it is given.
        keep: checkpoints that stay.
    """
    target = folder / f"checkpoint_{number:06d}"
    temporary = folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save(temporary)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        manifest = {
            "format": FORMAT,
            "versions": {name: version(name) for name in PACKAGES},
            "files": {str(path.relative_to(temporary)): _digest(path) for path in files},
        }
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        for path in [*files, temporary / MANIFEST, temporary]:
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)  # left by a run that was resumed before it
        temporary.rename(target)
        _sync(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in checkpoints(folder)[keep:]:
        shutil.rmtree(old)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a trial's folder, newest first."""
    return sorted(folder.glob("checkpoint_*"), reverse=True)


def newest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint in a trial's folder; a folder without any is taken for one itself."""
    return next(iter(checkpoints(folder)), folder)


def check_checkpoint(path: Path) -> None:
    """Compares a checkpoint with its manifest; reads, but loads nothing.

    Raises:
        CheckpointError: it is not as it was written, or of a newer format.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        wanted, written_as = dict(manifest["files"]), int(manifest["format"])
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path}: has no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"checkpoint {path}: its {MANIFEST} is damaged") from None
    if written_as > FORMAT:
        raise CheckpointError(f"checkpoint {path}: format {written_as} is of a newer mec-rllib")
    for name, digest in wanted.items():
        if not (path / name).is_file():
            raise CheckpointError(f"checkpoint {path}: {name} is missing")
        if _digest(path / name) != digest:
            raise CheckpointError(f"checkpoint {path}: {name} is damaged")


def newest_good_checkpoint(folder: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint of a trial that is whole; what is passed over is said."""
    for path in checkpoints(folder):
        try:
            check_checkpoint(path)
        except CheckpointError as error:
            warn(f"{error}; taking the one before")
        else:
            return path
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
