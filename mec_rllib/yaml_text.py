"""YAML as people write it: merge keys and 1e4 are taken, what YAML 1.1 reads otherwise is refused.

Plain scalars that two readers understand differently are no guess of ours: integers with a leading
0 (octal in YAML 1.1) and numbers with colons (base 60) are errors that name what to write.
"""

import re
from typing import Any

import yaml

from mec_rllib.errors import ConfigError

_INT, _FLOAT, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "merge"))
_FIRST_OF_NUMBERS = list("-+.0123456789")
# A float of YAML 1.2 without a point or without the exponent's sign: text for YAML 1.1.
_EXPONENT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+$")  # 0899, too, which is text for YAML 1.1

# Where a tag is written out, PyYAML trusts the value: `!!int ""` is an IndexError.
_FAULTS = (
    yaml.YAMLError,
    RecursionError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key may not be given twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The node; raises on a repeated key, before merges bring in those of others."""
        node = super().compose_mapping_node(anchor)
        seen = set[Any]()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # cannot be a key of ours, and is refused as such
            is_merge = key_node.tag == _MERGE
            key = "<<" if is_merge else self.construct_object(key_node, deep=True)
            if key in seen:
                more = ", write <<: [*one, *other]" if is_merge else ""
                raise _problem(key_node, f"key {key!r} is given twice{more}")
            seen.add(key)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merges, and keeps each key once: merges of merges would grow without bounds."""
        super().flatten_mapping(node)
        last = {
            (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else (key.tag, id(key)): pair
            for pair in node.value
            for key in pair[:1]
        }
        node.value = list(last.values())

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        """An integer as everybody reads it."""
        text = self.construct_scalar(node)
        if _LEADING_ZERO.fullmatch(text):
            plain = str(int(text.replace("_", "")))
            raise _ambiguous(node, "has a leading 0 (octal?)", plain)
        value: int = self.construct_yaml_int(node)
        if ":" in text:
            raise _ambiguous(node, "would be a number in base 60", str(value))
        return value

    def construct_real(self, node: yaml.ScalarNode) -> float:
        """A float as everybody reads it."""
        value: float = self.construct_yaml_float(node)
        if ":" in self.construct_scalar(node):
            raise _ambiguous(node, "would be a number in base 60", f"{value:g}")
        return value


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would take for a number."""


_Loader.add_constructor(_INT, _Loader.construct_whole)
_Loader.add_constructor(_FLOAT, _Loader.construct_real)
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(_FLOAT, _EXPONENT, _FIRST_OF_NUMBERS)
    _kind.add_implicit_resolver(_INT, _LEADING_ZERO, _FIRST_OF_NUMBERS)


def parse_yaml(text: str, source: str) -> Any:
    """What a text says.

    Raises:
        ConfigError: no valid YAML; one line, `source` names the text in it.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(f"{source}: {place}{error.problem or error.context}") from None
    except _FAULTS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{source}: no valid YAML: {reason}") from None


def dump_yaml(values: Any) -> str:
    """A text that `parse_yaml` reads as these values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _problem(node: yaml.Node, text: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)


def _ambiguous(node: yaml.ScalarNode, what: str, plain: str) -> yaml.constructor.ConstructorError:
    return _problem(node, f"{node.value} {what}: write {plain}, or '{node.value}' for a text")
