"""From YAML and `--set` overrides to an experiment, or to one line that says what is wrong."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from mec_rllib.config.experiment import Experiment
from mec_rllib.config.shipped import config_file
from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.yaml_text import parse_yaml

Model = TypeVar("Model", bound=BaseModel)


class Override(NamedTuple):
    """A value for a dotted key.

    Attributes:
        key: "a.b"; numbers index lists.
        value: plain.
        source: names it in errors.
    """

    key: str
    value: Any
    source: str


def parse_override(text: str) -> Override:
    """The override that "a.b=value" of `--set` means, the value in YAML.

    Raises:
        ConfigError: it has another form.
    """
    source = f"--set {text}"
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{source}: must have the form a.b=value")
    return Override(key.strip(), parse_yaml(value, source), source)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Reads a config file and applies `--set` overrides.

    Args:
        path: YAML file, or the name of a shipped config.
        overrides: "a.b=value", the value in YAML; numbers index lists.

    Raises:
        ConfigError: one line: what, where, the nearest right value.
    """
    path = config_file(path)
    return build(with_overrides(read_values(path), map(parse_override, overrides)), str(path))


def read_values(path: str | Path) -> dict[str, Any]:
    """The keys and values of a YAML file, not checked yet.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        raise ConfigError(f"{path}: cannot be read ({reason})") from None
    values = parse_yaml(text, str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold keys and values, not a {type(values).__name__}")
    return values


def with_overrides(values: Mapping[str, Any], overrides: Iterable[Override]) -> dict[str, Any]:
    """A copy of plain values in which the overrides are set, one after the other.

    Raises:
        ConfigError: an override that leads nowhere.
    """
    changed = copy.deepcopy(dict(values))
    for key, value, source in overrides:
        _set(changed, key, copy.deepcopy(value), source)
    return changed


def build(values: Mapping[str, Any], source: str) -> Experiment:
    """A checked experiment from plain values; `source` names them in errors."""
    if "suite" in values:
        raise ConfigError(
            f"{source}: is a suite of experiments; play it with mec-rllib tune or mec_rllib.Suite"
        )
    return checked(Experiment, values, source)


def checked(root: type[Model], values: Mapping[str, Any], source: str) -> Model:
    """Plain values as a typed config of some kind.

    Raises:
        ConfigError: one line about the first thing that is wrong.
    """
    try:
        return root.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {one_line(error, root, values)}") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply") from None


def with_values(experiment: Experiment, values: Mapping[str, Any], source: str) -> Experiment:
    """A copy with the dotted keys set, checked again."""
    plain = experiment.model_dump()
    for key, value in values.items():
        _set(plain, str(key), value, source)
    return build(plain, source)


def _set(values: dict[str, Any], key: str, value: Any, source: str) -> None:
    *parents, last = key.split(".")
    place: Any = values
    for part, below in zip(parents, [*parents, last][1:], strict=True):
        place = _only(place, part)
        if isinstance(place, dict):
            if place.get(part) is None:  # absent, or an empty section in the file
                place[part] = {}
            elif place[part] == below:  # `exploration: guided`, and exploration.guided.slots
                place[part] = {below: {}}
            place = place[part]
        else:
            place = _item(place, part, source)
    place = _only(place, last)
    if isinstance(place, dict):
        place[last] = value
    else:
        _item(place, last, source)
        place[int(last)] = value


def _only(place: Any, part: str) -> Any:
    """A key below a list with one section means that section."""
    is_one = isinstance(place, list) and len(place) == 1 and isinstance(place[0], dict)
    return place[0] if is_one and not part.isdigit() else place


def _item(place: Any, part: str, source: str) -> Any:
    if not isinstance(place, list):
        raise ConfigError(f"{source}: {part!r} is below a value that has no keys")
    if not part.isdigit() or int(part) >= len(place):
        raise ConfigError(f"{source}: {part!r} is no index of a list of {len(place)}")
    return place[int(part)]


def one_line(error: ValidationError, root: type[BaseModel] = Experiment, values: Any = None) -> str:
    """The first problem: its place below `root`, what is wrong, and the nearest right key.

    Args:
        error: of pydantic.
        root: what was to be built.
        values: what was given for it.
    """
    problems = error.errors(include_url=False)
    # In a union every alternative complains; the longest place is the one the user meant.
    first = max(problems, key=lambda p: (p["type"] == "extra_forbidden", len(p["loc"])))
    model, shown = _walk(first["loc"], root, values)
    where = ".".join(shown) or "config"
    if first["type"] == "extra_forbidden" and model is not None:
        return f"{where}: unknown key; {nearest(shown[-1], model.model_fields)}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if first["type"] == "value_error" or first["type"] == "missing":
        return f"{where}: {_clean(message)}"
    return f"{where}: {_clean(message)}, not {_short(first['input'])}"


def _walk(
    loc: Iterable[int | str], root: type[BaseModel], values: Any
) -> tuple[type[BaseModel] | None, list[str]]:
    """The model that the place is in, and the place as the values have it.

    It has neither pydantic's union labels, nor the number of what was given in place of a list.
    """
    model: type[BaseModel] | None = root
    shown: list[str] = []
    for part in loc:
        if isinstance(values, Mapping) and isinstance(part, int):
            continue
        values = _at(values, part)
        field = model.model_fields.get(part) if model and isinstance(part, str) else None
        if field:
            model = _model_of(field.annotation)
        if field or not shown or not _is_union_label(part):
            shown.append(str(part))
    return model, shown


def _at(values: Any, part: int | str) -> Any:
    try:
        return values[part]
    except (KeyError, IndexError, TypeError):
        return None


def _is_union_label(part: int | str) -> bool:
    if isinstance(part, int):
        return False
    return part in ("float", "int", "str", "constrained-int", "constrained-float") or "[" in part


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The section inside an annotation such as `list[ClassConfig]` or `TraceConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if found := _model_of(inner):
            return found
    return None


def _clean(text: str) -> str:
    return " ".join(text.split())


def _short(value: Any) -> str:
    text = _clean(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."
