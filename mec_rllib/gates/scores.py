"""How good a moment to train is: the scores that a gate under a budget can rank slots by.

A score is a tuple whose type says how it is found (`score_of`), or a function of a user's that is
asked slot by slot. Some are good or bad rather than high or low (`Moment`): 1 or 0.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field

from mec_rllib.compiled import by_type, compiled
from mec_rllib.gates.base import GateView
from mec_rllib.gates.periodic import ANYWHERE, EMPTY, IDLE, is_good_moment, slots_of
from mec_rllib.gates.value import TrainingValue, Value, worth_of_one
from mec_rllib.lookup import find, is_import_path, nearest
from mec_rllib.sim.jobs import Floats
from mec_rllib.user_code import WrongAnswerError, described, named_place

OF_AGENT = ("psi", "worth")  # as good as the agent's Q-values are
PRICES = ("counterfactual", "hindsight")  # found by storing the world and playing it on
NAMES = (*OF_AGENT, *PRICES, "use", "queue", "idle", "server_empty", "random", "clock")


def _known(score: str) -> str:
    if score not in NAMES and not is_import_path(score):
        raise ValueError(f"unknown score {score!r}; {nearest(score, NAMES)}")
    if is_import_path(score) and not callable(find(score, {}, "score")):
        raise ValueError(f"{score} cannot be called: a score is a function of a GateView")
    return score


ScoreName = Annotated[
    str,
    Field(
        description="what a good moment to train is: psi (costs least by Q), worth (psi, and what "
        "training is worth by the TD error), counterfactual (costs least by a network that learns "
        "what jobs would have cost, from stored states), hindsight (the same on what really comes: "
        "a reference, no gate), use (fewest units in use), queue (fewest jobs wait), "
        "idle, server_empty, random, clock (as soon as there is a token), or "
        "package.module:function of a GateView"
    ),
    AfterValidator(_known),
]


class Psi(NamedTuple):
    """Score: psi, what a training job now is worth in Q."""

    sign: float = 1.0


class Use(NamedTuple):
    """Score: the fewer units are in use, the better."""

    sign: float = -1.0


class Queue(NamedTuple):
    """Score: the fewer jobs wait, the better."""

    sign: float = -1.0


class Random(NamedTuple):
    """Score: drawn."""

    drawn: Floats  # (P,) of slot and server, modulo P


class Moment(NamedTuple):
    """Score: 1 where the moment is good, or the wait was too long; elsewhere 0."""

    moment: int  # ANYWHERE, EMPTY or IDLE
    longest_wait: int  # slots


class Worth(NamedTuple):
    """Score: psi, and what training is worth (see `TrainingValue`)."""

    known: Value


class Price(NamedTuple):
    """Score: what a training job costs, the less the better."""

    sign: float = -1.0


class Given(NamedTuple):
    """Score: what a function in Python has answered."""

    answered: Floats  # (N,)


@by_type
def score_of(score, view, i):
    """How good a moment this is for server i to train; `score` says by its type how it is found."""


@score_of.of(Psi)
def _psi(score, view, i):
    return score.sign * view.psi[i]


@score_of.of(Use)
def _use(score, view, i):
    return score.sign * view.use[i]


@score_of.of(Queue)
def _queue(score, view, i):
    return score.sign * view.queue[i]


@score_of.of(Random)
def _random(score, view, i):
    return drawn_for(score.drawn, view.slot, i)


@score_of.of(Moment)
def _moment(score, view, i):
    is_good = is_good_moment(score.moment, view, i)
    return 1.0 if is_good or view.since_training[i] >= score.longest_wait else 0.0


@score_of.of(Worth)
def _worth(score, view, i):
    return view.psi[i] + worth_of_one(score.known, view.td_error[i], view.since_training[i], i)


@score_of.of(Price)
def _price(score, view, i):
    return score.sign * view.price[i]


@score_of.of(Given)
def _given(score, view, i):
    return score.answered[i]


@compiled
def drawn_for(drawn, slot, i):
    """The number of a slot and a server."""
    return drawn[(slot + 7919 * i) % len(drawn)]


def built_in(name: str, num_servers: int, drawn: Floats, longest_wait: int | None) -> Any:
    """The tuple of a score by name, or room for what a function will answer.

    Args:
        name: of the score; `pts` is `clock`.
        num_servers: N.
        drawn: (P,) numbers in [0, 1).
        longest_wait: slots after which any moment is good; None: never.
    """
    moments = {"clock": ANYWHERE, "pts": ANYWHERE, "server_empty": EMPTY, "idle": IDLE}
    if name in moments:
        return Moment(moments[name], slots_of(longest_wait))
    plain = {"psi": Psi, "use": Use, "queue": Queue} | dict.fromkeys(PRICES, Price)
    if name in plain:
        return plain[name]()
    if name == "worth":
        return Worth(TrainingValue(num_servers).known)
    return Random(drawn) if name == "random" else Given(np.zeros(num_servers))


def asked(function: Callable[[GateView], Any], view: GateView) -> Floats:
    """(N,) what a function of a user's says of the servers.

    Raises:
        WrongAnswerError: no (N,) numbers.
    """
    n = len(view.can_ask)
    answer = function(view)
    is_array = isinstance(answer, np.ndarray) and answer.dtype.kind in "iufb"
    if not is_array or answer.shape != (n,):
        must = f"(N,) numbers, N = {n} here, returned {described(answer)}"
        raise WrongAnswerError(f"{named_place(function)} must return {must}")
    return answer.astype(float)
