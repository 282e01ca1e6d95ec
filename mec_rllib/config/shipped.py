"""The configs that come with the package: `mec-rllib tune demo` finds them by name."""

from pathlib import Path

import mec_rllib
from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest

FOLDER = Path(mec_rllib.__file__).parent / "tune_configs"  # in a clone a link


def names() -> list[str]:
    """The shipped configs."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def config_file(path: str | Path) -> Path:
    """The file that is meant: a file that is there, or a shipped config by its name.

    Raises:
        ConfigError: a name that is neither.
    """
    path = Path(path)
    if path.is_file() or len(path.parts) != 1:
        return path
    name = path.stem if path.suffix == ".yaml" else path.name
    if name in names():
        return FOLDER / f"{name}.yaml"
    if path.suffix or path.exists():
        return path  # whoever reads it says what is wrong
    raise ConfigError(f"{path}: is no file and no shipped config; {nearest(name, names())}")
