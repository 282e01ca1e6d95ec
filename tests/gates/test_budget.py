"""A budget: what comes in is spent, where the score says; by hand, and for every score."""

import numpy as np
import pytest
from gate_slots import RELIABLE, UNRELIABLE, fires, play, view
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.config.load import build as build_experiment
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.gates import Budget
from mec_rllib.gates.scores import NAMES
from mec_rllib.launch.cluster_check import modules_to_send
from mec_rllib.trials.check import check_study

SMALL = {"window": 4, "min_history": 4, "refresh": 1}  # enough for paper


def column(values):
    return np.reshape(values, (-1, 1))


def test_a_token_is_spent_where_the_score_reaches_its_quantile():
    psis = [-4, -3, -2, -1, 0, 5, -6, 6, -9, 7, 1, -9, 7]
    # A quarter of a token a slot, one saved at most: the first is there in slot 3. Three quarters
    # of the scores might fire, so it is half of them: the threshold is the median of the last 4.
    # 3: -4 -3 -2 -1 -> -2.5, -1 fires     7: 0 5 -6 6 -> 2.5, 6 fires, not before: no token
    # 11: 6 -9 7 1 -9 -> -4, -9 does not   12: 7 fires
    assert fires(Budget(1, rate=0.25, burst=1, **SMALL), psis) == [3, 7, 12]


def test_the_more_tokens_are_saved_the_less_choosy_it_is():
    gate = Budget(1, rate=0.01, window=100, min_history=100, refresh=1, burst=5, fallback="idle")
    play(gate, column(np.arange(500.0)), idle=column(np.zeros(500, bool)), td=UNRELIABLE_500)
    thresholds = []
    for k, saved in enumerate((0.5, 1.0, 2.0, 5.0)):
        gate.rule.spending.purse.tokens[:] = saved
        gate.wants(view(psi=-1.0, since=10_000 + k))
        thresholds.append(gate.metrics()["psi_threshold"])
    # The last 100 were 400 .. 499; one of -1 after the other takes the place of the lowest. 3, 3,
    # 6 and 15 % of them may fire (a slot brings 0.01 itself), so ranks below the highest:
    expected = [499 - 99 * share for share in (0.03, 0.0303, 0.0603, 0.15)]
    np.testing.assert_allclose(thresholds, expected, atol=0.02)


UNRELIABLE_500 = np.full((500, 1), UNRELIABLE)


@pytest.mark.parametrize("score", NAMES)
@pytest.mark.parametrize("rate", [0.005, 0.05])
@pytest.mark.compiled
def test_what_comes_in_is_spent_whatever_the_score(score, rate):
    """Within 2 %; ties in plenty, and slots in which nobody can be asked."""
    slots, rng = 20_000, np.random.default_rng(5)
    gate = Budget(1, score, rate, seed=1)
    wave = np.sin(np.arange(slots) / 300.0)
    fired = play(
        gate,
        column(np.round(np.minimum(rng.normal(size=slots) + wave, 0.0), 1)),
        use=column(rng.integers(0, 11, slots) / 10),
        queue=column(rng.integers(0, 3, slots)),
        empty=column(rng.random(slots) < 0.2),
        idle=column(rng.random(slots) < 0.2),
        can_ask=column(rng.random(slots) < 0.9),
    )
    assert 0.98 * rate * slots <= fired.sum() <= rate * slots


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from(["pts", "server_empty", "use"]),
    st.integers(1, 20),
)
def test_what_has_not_come_in_is_never_spent(seed, unreliable, fallback, burst):
    rng = np.random.default_rng(seed)
    psis = np.round(rng.normal(size=(600, 1)).cumsum(axis=0), 1)
    td = np.where(rng.random((600, 1)) < unreliable, UNRELIABLE, RELIABLE)
    falls = {"first": 0.2, "last": 0.01, "half_life": 50}
    gate = Budget(1, rate=falls, burst=burst, min_history=50, fallback=fallback)
    fired = play(gate, psis, td=td, empty=rng.random((600, 1)) < 0.5)[:, 0]
    came_in = np.cumsum(0.01 + 0.19 * 0.5 ** (np.arange(600) / 50))
    assert (fired.cumsum() <= came_in + 1e-9).all()


def test_use_and_queue_train_where_there_is_least():
    rng = np.random.default_rng(2)
    for score in ("use", "queue"):
        values = rng.integers(0, 8, (5000, 1)) / (8 if score == "use" else 1)
        fired = play(Budget(1, score, 0.02), np.zeros((5000, 1)), **{score: values})[:, 0]
        assert values[fired][20:].mean() < 0.1 * values.mean()  # one slot in eight has the least


def test_a_clock_is_even_and_chance_is_not():
    gaps = {
        score: np.diff(fires(Budget(1, score, 0.01, seed=3), np.zeros(20_000)))
        for score in ("clock", "random")
    }
    assert set(gaps["clock"]) <= {99, 100, 101}
    assert gaps["random"].std() > 30
    other = fires(Budget(1, "random", 0.01, seed=4), np.zeros(20_000))
    assert other != fires(Budget(1, "random", 0.01, seed=3), np.zeros(20_000))


def test_chance_differs_between_servers():
    fired = play(Budget(2, "random", 0.02), np.zeros((5000, 2)))
    assert (fired[:, 0] & fired[:, 1]).sum() < 0.2 * fired[:, 0].sum()


def test_the_fallback_is_a_score_with_recent_values_of_its_own():
    """psi is high where the server is full; while it is not trusted the use decides."""
    rng = np.random.default_rng(0)
    use = rng.integers(0, 11, (4000, 1)) / 10
    for td, least in ((UNRELIABLE, True), (RELIABLE, False)):
        gate = Budget(1, rate=0.02, fallback="use")
        fired = play(gate, use - 1.0, use=use, td=np.full((4000, 1), td))[:, 0]
        late = use[1000:][fired[1000:]]
        assert (late.max() <= 0.1) if least else (late.min() >= 0.9)


@pytest.mark.parametrize(("fallback", "expected"), [("pts", [3, 7, 11]), ("server_empty", [5])])
def test_moments_spend_at_once_while_q_is_unreliable(fallback, expected):
    empty = np.array([[0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]], bool).T
    gate = Budget(1, rate=0.25, burst=1, fallback=fallback, **SMALL)
    # server_empty: the token of slot 3 waits for slot 5; the next is there in slot 9 only
    assert fires(gate, np.zeros(12), td=UNRELIABLE, empty=empty) == expected


def test_saved_tokens_are_spent_one_after_the_other():
    empty = np.arange(100)[:, None] >= 90
    gate = Budget(1, rate=0.1, burst=3, fallback="server_empty")
    assert fires(gate, np.zeros(100), td=UNRELIABLE, empty=empty) == [90, 91, 92]


def test_a_moment_that_does_not_come_is_not_waited_for_for_ever():
    never = np.zeros((40, 1), bool)
    gate = Budget(1, "server_empty", 0.5, longest_wait=10)
    assert fires(gate, np.zeros(40), empty=never) == [9, 19, 29, 39]


def test_the_rate_halves_its_way_to_the_last_one():
    gate = Budget(1, rate={"first": 0.05, "last": 0.01, "half_life": 100})
    for slot, expected in ((0, 0.05), (100, 0.03), (200, 0.02), (10**6, 0.01)):
        gate.wants(view(slot=slot))
        assert gate.metrics()["token_rate"] == pytest.approx(expected)
    gate = Budget(1, rate="decaying")
    gate.wants(view(slot=7500))
    assert gate.metrics()["token_rate"] == pytest.approx(0.021)


def test_a_warm_up_trains_at_even_distances():
    gate = Budget(1, "server_empty", 0.01, warm_up={"start": 50, "until": 250, "jobs": 20})
    fired = fires(gate, np.zeros(1000), empty=(np.arange(1000) >= 990)[:, None])
    assert fired[:20] == list(range(59, 250, 10))
    # 7.5 tokens have come in since; the empty server takes them
    assert fired[20:] == list(range(990, 997))
    assert [name for name, where in gate.reasons().items() if where[0]] == ["server_empty"]


def test_a_request_rests_on_the_score_the_fallback_or_the_warm_up():
    gate = Budget(1, rate=0.5, warm_up={"start": 0, "until": 2, "jobs": 1}, **SMALL)
    reasons = []
    for slot in range(6):
        gate.wants(view(psi=float(slot), slot=slot))
        reasons += [name for name, where in gate.reasons().items() if where[0]]
    assert reasons == ["warm_up"] * 2 + ["fallback"] + ["psi"] * 3


def test_a_batch_decides_as_its_servers_do_alone():
    """But for chance: ties are drawn for each server."""
    rng, shape = np.random.default_rng(2), (2000, 3)
    slots = {
        "psis": np.minimum(rng.normal(size=shape), 0.0) + 1e-3 * rng.random(shape),
        "td": rng.uniform(0.0, 0.12, shape),
        "use": rng.random(shape),
        "can_ask": rng.random(shape) < 0.9,
    }
    make = lambda n: Budget(n, rate=0.05, min_history=50, fallback="use")  # noqa: E731
    together = play(make(3), **slots)
    for server in range(3):
        own = {k: v[:, server : server + 1] for k, v in slots.items()}
        alone = play(make(1), **own)[:, 0]
        assert (alone != together[:, server]).mean() < 0.005  # the noise of a tie in 1e-6
        assert alone.sum() > 50


def least_queue(view):
    """A score of a user's."""
    return -view.queue


def answers_one_number(view):
    return -1.0


class Counts:
    """One that is called, and has no place in a file."""

    def __call__(self, view):
        return np.zeros(7)


counts = Counts()


def test_a_score_of_a_users_is_asked_slot_by_slot():
    queue = np.random.default_rng(1).integers(0, 5, (3000, 1))
    gate = Budget(1, f"{__name__}:least_queue", 0.02)
    assert gate.compiled_rule is None
    fired = play(gate, np.zeros((3000, 1)), queue=queue)[:, 0]
    built_in = play(Budget(1, "queue", 0.02), np.zeros((3000, 1)), queue=queue)[:, 0]
    np.testing.assert_array_equal(fired, built_in)
    assert list(gate.reasons()) == ["least_queue", "fallback", "warm_up"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"score": "psy"}, "unknown score 'psy'; did you mean 'psi'?"),
        ({"score": "nowhere:f"}, "cannot be imported"),
        ({"score": f"{__name__}:SMALL"}, "cannot be called"),
        ({"rate": "falling"}, "rate: must be a number, decaying, or {first, last, half_life}"),
        ({"rate": {"first": 0.1, "last": 0.2}}, "last is 0.2, more than first 0.1"),
        ({"rate": {"frist": 0.1}}, "rate: unknown key 'frist'; did you mean 'first'?"),
        ({"rate": 0}, "rate"),
        ({"warm_up": {"jobs": 5000}}, "5000 jobs do not fit between 500 and 4000"),
        ({"fallback": "random"}, "fallback"),
        ({"rate": 1.5}, "rate: must be above 0 and at most 1, not 1.5"),
        ({"warm_up": {"untill": 5}}, "until"),
        ({"first_share": 0.1}, "no key 'first_share'; known: score, rate"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(keys, message):
    with pytest.raises(ConfigError) as error:
        resolve(build_experiment({"strategies": [{"gate": "budget"} | keys]}, "test"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "place"),
    [("answers_one_number", "test_budget.py:"), ("counts", "Counts()")],
)
def test_a_score_that_answers_something_else_is_named_before_anything_starts(name, place):
    score = f"{__name__}:{name}"
    study = resolve(build_experiment({"strategies": [{"gate": "budget", "score": score}]}, "test"))
    with pytest.raises(ConfigError, match=r"must return \(N,\) numbers") as error:
        check_study(study)
    assert place in str(error.value)


def test_what_an_environment_cannot_say_is_no_score():
    env = {"gym": {"id": "CartPole-v1"}}
    strategies = [{"gate": "budget", "score": "queue"}]
    study = resolve(build_experiment({"env": env, "strategies": strategies}, "test"))
    with pytest.raises(ConfigError, match="asks for queue, an attribute that CartPoleEnv does not"):
        check_study(study)


def test_the_older_gate_is_named_with_what_it_is_now():
    with pytest.raises(ConfigError, match="price is now a score of budget"):
        resolve(build_experiment({"strategies": ["price"]}, "test"))


def test_a_score_of_ones_own_travels_to_the_nodes(tmp_path, monkeypatch):
    (tmp_path / "my_scores.py").write_text("def best(view):\n    return -view.use\n")
    monkeypatch.syspath_prepend(tmp_path)
    strategies = [{"gate": "budget", "score": "my_scores:best"}]
    study = resolve(build_experiment({"strategies": strategies}, "test"))
    assert modules_to_send(study) == [str(tmp_path / "my_scores.py")]


@pytest.mark.parametrize("score", ["counterfactual", "hindsight"])
def test_a_price_is_not_asked_for_before_it_is_known(score):
    """Until then the fallback decides, and what is not said is no recent value."""
    gate = Budget(1, score, rate=0.5, fallback="server_empty", **SMALL)
    assert (gate.needs_price, gate.needs_psi, gate.needs_agreement) == (score, False, False)
    shares = []
    for k, price in enumerate((np.nan, np.nan, 5.0, 4.0, 3.0, 1.0, 1.0, np.nan)):
        gate.wants(view(price=price, td=UNRELIABLE, empty=False, since=10_000 + k))
        shares.append(gate.metrics()["fallback_share"])
    assert shares == [1.0] * 5 + [0.0, 0.0, 1.0]
    assert gate.wants(view(price=0.0, since=20_000))[0]
    assert not gate.wants(view(price=9.0, since=20_001))[0]
