"""What every part of a config is: checked by pydantic, strict about what it does not know."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypeVar, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)

from mec_rllib.lookup import nearest

Kind = TypeVar("Kind", bound=BaseModel)
# Arguments that a constructor is given by the application, not by a config.
NOT_KEYS = ("self", "num_servers", "seed")


def _one_line(name: str) -> str:
    if not name.isprintable():
        raise ValueError("must be printable text in one line")
    return name


Name = Annotated[
    str,
    Field(min_length=1, max_length=100),
    AfterValidator(_one_line),
]


class Section(BaseModel):
    """A part of the config: unknown keys, NaN and infinities are errors.

    A section or a mapping with nothing in it (`env:`) is its default.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `env:` as null; where null has a meaning of its own, it keeps that."""
        field = cls.model_fields[info.field_name or ""]
        if value is None and _has_keys(field.annotation):
            return {} if field.is_required() else field.get_default(call_default_factory=True)
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_switches(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` and `on` as true, and Python would take that for 1."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if annotation is not bool:
            for switch in _switches(value):
                raise ValueError(f"must not be {str(switch).lower()}")
        return value


def _has_keys(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, dict | BaseModel)


def _switches(value: Any) -> Iterator[bool]:
    """True and False in a value or a list; what is in mappings, others check."""
    if isinstance(value, bool):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _switches(item)


def section_from(section: type[Kind], values: Mapping[Any, Any]) -> Kind:
    """A section that is one way among others to give a value.

    Raises:
        ValueError: one line about the first thing that is wrong.
    """
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        first, *_ = error.errors(include_url=False)
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        raise ValueError(f"unknown key {key!r}; {nearest(key, section.model_fields)}")
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    raise ValueError(f"{key}: {message}" if key else message)


class _Arguments(Section):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class _AnyArguments(_Arguments):
    model_config = ConfigDict(extra="allow")


def differ(what: str, names: Sequence[str]) -> None:
    """Figures go by name: those of two of one name would be one."""
    if len(set(names)) < len(names):
        raise ValueError(f"{what}: a name is given twice ({', '.join(names)})")


def section_of(constructor: Any) -> type[Section]:
    """The section whose keys are the arguments of a constructor.

    Bounds and meaning stand beside the argument: `period: Annotated[int, Field(ge=1, ...)] = 100`.
    An argument without an annotation takes any value.
    """
    return _section_of(constructor)


@cache
def _section_of(constructor: Any) -> type[Section]:
    fields: dict[str, Any] = {}
    base = _Arguments
    for name, parameter in inspect.signature(constructor).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            base = _AnyArguments
        if name in NOT_KEYS or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        is_typed = parameter.annotation is not parameter.empty
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (parameter.annotation if is_typed else Any, default)
    name = getattr(constructor, "__name__", "Arguments")
    return create_model(name, __base__=base, __doc__=inspect.getdoc(constructor), **fields)
