"""`mec-rllib init`: a small project of a user's own, as files to start from."""

from pathlib import Path

from mec_rllib.errors import ConfigError

FILES = Path(__file__).parent / "files"


def write_project(folder: Path) -> list[Path]:
    """Writes a gate, a rule, a workload, a config and a test; returns their paths.

    Args:
        folder: new, or there without any of these files.

    Raises:
        ConfigError: a file is there already, or cannot be written; nothing is written then.
    """
    sources = sorted(path for path in FILES.iterdir() if path.is_file())
    targets = [folder / source.name for source in sources]
    for target in targets:
        if target.exists():
            raise ConfigError(f"{target}: is there already; take a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in zip(sources, targets, strict=True):
            target.write_bytes(source.read_bytes())
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from None
    return targets
