"""What makes published data stale: another config, or code of another behaviour."""

from collections.abc import Mapping
from hashlib import sha256
from json import dumps
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mec_rllib.behaviour import BEHAVIOUR_VERSION
from mec_rllib.config.experiment import Experiment
from mec_rllib.config.explorations import exploration_class
from mec_rllib.config.sections import SearchConfig
from mec_rllib.config.study import Strategy, Study
from mec_rllib.lookup import load_path
from mec_rllib.section import section_of

MISSING = object()


def identity(study: Study) -> dict[str, Any]:
    """All that decides the rows of a study, resolved: plain data, without paths of a machine."""
    search = study.experiment.search
    return {
        "seeds": list(study.experiment.seeds),
        "search": search and search.model_dump(mode="json"),
        "strategies": {s.label: _without_folders(s.identity) for s in study.strategies},
    }


def made_of(study: Study) -> dict[str, Any]:
    """What is written down of a study that is played, to tell later whether it is the same."""
    return {"behaviour": BEHAVIOUR_VERSION, "identity": identity(study)}


def stale_by(written: Mapping[str, Any], study: Study) -> str | None:
    """What differs from what would be played now; None: nothing does.

    Args:
        written: as `made_of` had it then.
        study: as it is now.
    """
    if written["behaviour"] != BEHAVIOUR_VERSION:
        return f"BEHAVIOUR_VERSION {written['behaviour']}, now {BEHAVIOUR_VERSION}"
    return difference(written["identity"], study)


def is_same(written: Mapping[str, Any], strategy: Strategy) -> bool:
    """Whether a strategy is what was written down of one, under whatever label."""
    now = _without_folders(strategy.identity)
    return _first(dict(written), now, _defaults(strategy)) is None


def digest(study: Study) -> str:
    """A short name for a study as this code plays it."""
    text = dumps(made_of(study), sort_keys=True)
    return sha256(text.encode()).hexdigest()[:8]


def difference(stored: Mapping[str, Any], study: Study) -> str | None:
    """The first key in which a study is not what was played; None: it is the same.

    A key that did not exist then, and has its default now, is no difference.
    """
    defaults = {
        "search": _defaults_of(SearchConfig),
        "strategies": {s.label: _defaults(s) for s in study.strategies},
    }
    return _first(dict(stored), identity(study), defaults)


def _first(then: Any, now: Any, default: Any, place: str = "") -> str | None:
    """The first place in which nested values differ, new keys with their defaults aside."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        known = default if isinstance(default, Mapping) else {}
        for key in {**then, **now}:
            inner = f"{place}.{key}" if place else str(key)
            if key in then and key in now:
                found = _first(then[key], now[key], known.get(key), inner)
            else:
                is_default = key in now and now[key] == known.get(key, MISSING)
                found = None if is_default else inner
            if found:
                return found
        return None
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        one = default[0] if isinstance(default, list) and default else None
        pairs = enumerate(zip(then, now, strict=True))
        places = (_first(a, b, one, f"{place}.{k}") for k, (a, b) in pairs)
        return next(filter(None, places), None)
    return None if then == now else place


def _defaults(strategy: Strategy) -> dict[str, Any]:
    keys = strategy.exploration_args
    explored = _defaults_of(section_of(exploration_class(strategy.exploration))) if keys else {}
    return {
        "args": _defaults_of(section_of(load_path(strategy.path))) if strategy.learns else {},
        "config": Experiment().model_dump(mode="json")
        | {"exploration": {strategy.exploration: explored}},
    }


def _defaults_of(section: type[BaseModel]) -> dict[str, Any]:
    """Of the keys that have one."""
    values = {
        name: field.get_default(call_default_factory=True)
        for name, field in section.model_fields.items()
    }
    return {name: value for name, value in values.items() if value is not PydanticUndefined}


def _without_folders(of_strategy: dict[str, Any]) -> dict[str, Any]:
    env = of_strategy["config"]["env"]
    if trace := env.get("trace"):
        env = env | {"trace": trace | {"path": PurePath(trace["path"]).name}}
        return of_strategy | {"config": of_strategy["config"] | {"env": env}}
    return of_strategy
