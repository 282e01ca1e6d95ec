"""Agents: small files of settings, shipped in the folder `agents` or written by a user."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.yaml_text import parse_yaml

FOLDER = Path(__file__).parent / "agents"
SECTIONS = ("exploration", "learner", "gate")  # that an agent may set
DEFAULT_GATE = "default_gate"  # of a strategy that names the agent alone
FILE = (".yaml", ".yml")
FILLED = "from "  # an agent's file has filled the config in; the file is not needed any more


def names() -> list[str]:
    """The shipped agents."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def settings_of(agent: str) -> dict[str, Any]:
    """What an agent is: values by dotted keys, for keys that a config does not give itself.

    Args:
        agent: name of a shipped agent, or path of a YAML file of one's own.

    Raises:
        ValueError: no such agent, a file that cannot be read, or keys that no agent has.
    """
    values = _read(agent)
    return dict(_dotted({key: value for key, value in values.items() if key != DEFAULT_GATE}))


def default_gate_of(agent: str) -> str | None:
    """Name of the gate of a strategy that names this agent and no gate; None: it has to.

    Raises:
        ValueError: as `settings_of`.
    """
    gate = _read(agent).get(DEFAULT_GATE)
    return None if gate is None else str(gate)


@cache
def _read(agent: str) -> Mapping[str, Any]:
    is_file = agent.endswith(FILE)
    path = Path(agent).expanduser() if is_file else FOLDER / f"{agent}.yaml"
    if not is_file and agent not in names():
        raise ValueError(f"unknown agent {agent!r}; {nearest(agent, names())}")
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"), f"agent {agent}")
    except ConfigError as error:
        raise ValueError(error) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        raise ValueError(f"agent {agent}: cannot be read ({reason})") from None
    if not isinstance(values, Mapping):
        raise ValueError(f"agent {agent}: must hold keys and values")
    for key in values:
        if key not in (*SECTIONS, DEFAULT_GATE):
            known = (*SECTIONS, DEFAULT_GATE)
            raise ValueError(f"agent {agent}: unknown key {key!r}; {nearest(str(key), known)}")
    return values


def name_once_filled(agent: str) -> str:
    """What a config calls an agent whose settings it holds."""
    return f"{FILLED}{agent}" if agent.endswith(FILE) else agent


def fill(values: Mapping[str, Any], agent: str) -> dict[str, Any]:
    """A copy of a config with the settings of an agent where it gives none itself.

    Raises:
        ValueError: as `settings_of`.
    """
    if agent.startswith(FILLED):
        return dict(values)
    filled = dict(values)
    for key, value in settings_of(agent).items():
        filled = _with_default(filled, key, value)
    return filled | {"agent": name_once_filled(agent)}


def _with_default(values: Mapping[str, Any], key: str, default: Any) -> dict[str, Any]:
    """A copy with a dotted key, if it is missing; what is no section is left to be refused."""
    place, _, rest = key.partition(".")
    inner = values.get(place)
    if rest and inner is None:  # absent, or an empty section
        inner = {}
    if rest and isinstance(inner, Mapping):
        return {**values, place: _with_default(inner, rest, default)}
    return {**values, place: default} if not rest and place not in values else dict(values)


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and key != "exploration":  # one or another, as a whole
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value
