"""Explorations by name: the class of each is imported on first use; its arguments are the keys."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from mec_rllib.lookup import find, is_import_path, nearest

EXPLORATIONS = {
    "epsilon_greedy": "mec_rllib.rl.exploration:EpsilonGreedy",
    "boltzmann": "mec_rllib.rl.exploration:Boltzmann",
    "bootstrapped": "mec_rllib.rl.dqn.bootstrapped:Bootstrapped",
    "noisy": "mec_rllib.rl.dqn.noisy:Noisy",
    "guided": "mec_rllib.rl.exploration:Guided",
    "duel": "mec_rllib.rl.duel:Duel",
    "none": "mec_rllib.rl.exploration:Greedy",
    "sampled": "mec_rllib.rl.actor_critic.exploration:Sampled",
}
# Keys of `learner` that hold the keys of an exploration: the older spelling.
OLDER = {
    "epsilon": "epsilon_greedy",
    "temperature": "boltzmann",
    "bootstrap": "bootstrapped",
    "sigma0": "noisy",
    "guide": "guided",
}


def exploration_class(name: str) -> Any:
    """The class of an exploration, imported now: a `mec_rllib.rl.exploration.Greedy`.

    Raises:
        ValueError: an import path that leads nowhere, or to something else.
    """
    from mec_rllib.rl.exploration import Greedy

    found = find(EXPLORATIONS.get(name, name), {}, "exploration")
    if not (isinstance(found, type) and issubclass(found, Greedy)):
        raise ValueError(f"exploration {name} is no mec_rllib.rl.exploration.Greedy")
    return found


def name_and_keys(exploration: str | Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """`guided`, or `{guided: {slots: 5}}`, taken apart."""
    if isinstance(exploration, str):
        return exploration, {}
    ((name, keys),) = exploration.items()
    return name, dict(keys)


def _no_null(given: Any) -> Any:
    """A name with nothing below it has no keys."""
    if isinstance(given, Mapping):
        return {name: {} if keys is None else keys for name, keys in given.items()}
    return given


def _known(exploration: Any) -> Any:
    if not isinstance(exploration, str) and len(exploration) != 1:
        raise ValueError(f"must be one of them, not {len(exploration)}")
    name, _ = name_and_keys(exploration)
    if name not in EXPLORATIONS and not is_import_path(name):
        raise ValueError(f"unknown exploration {name!r}; {nearest(name, EXPLORATIONS)}")
    return exploration


Exploration = Annotated[
    str | dict[str, dict[str, Any]], BeforeValidator(_no_null), AfterValidator(_known)
]
