"""Training in environments that are not ours: its cost, their episodes, and the gates on both."""

import gymnasium
import numpy as np
import pytest
from gym_worlds import Battery, Line
from gymnasium import spaces

from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.gym_world import GymBatch, GymTotals
from mec_rllib.envs.training_cost import (
    FixedAction,
    RepeatLastAction,
    TrainingCostWrapper,
    own_cost,
)
from mec_rllib.envs.world import totals_from_json


def wrapped(steps=2, cost=RepeatLastAction, env=None):
    env = env or Line(length=9)
    return TrainingCostWrapper(env, cost(env), steps)


def test_a_frozen_step_holds_the_last_action():
    env = wrapped(steps=2)
    env.reset(seed=0)
    env.step(2)
    env.request_training()
    assert env.observation()[-1] == 1.0
    np.testing.assert_array_equal(env.action_masks(), [False, False, True])
    obs, _, _, _, info = env.step(1)
    assert obs[-1] == 0.5  # half of the training job is left
    np.testing.assert_array_equal(info["action_mask"], [False, False, True])
    obs, _, _, _, info = env.step(0)
    assert obs[-1] == 0.0
    assert info["action_mask"].all()
    env.step(1)
    assert env.unwrapped._played == [2, 2, 2, 1]


def test_what_is_held_at_the_start_of_an_episode_is_chosen():
    env = TrainingCostWrapper(Line(), RepeatLastAction(Line(), first=1))
    env.reset(seed=0)
    env.request_training()
    np.testing.assert_array_equal(env.action_masks(), [False, True, False])


def test_an_environment_may_say_itself_what_training_costs():
    env = wrapped(steps=3, cost=own_cost, env=Battery(length=9))
    env.reset(seed=0)
    assert env.step(0)[1] == 1.0
    env.request_training()
    env.request_training()  # one is running: no second one
    assert [env.step(0)[1] for _ in range(4)] == [0.5, 0.5, 0.5, 1.0]
    assert env.unwrapped.charge == 2
    assert env.unwrapped._played == [0, 1, 1, 1, 0]


def test_a_training_job_goes_on_in_the_next_episode():
    env = wrapped(steps=4, env=Line(length=2), cost=FixedAction)
    env.reset(seed=0)
    env.step(1)
    env.request_training()
    assert env.step(1)[2]
    obs, info = env.reset()
    assert obs[-1] == 0.75
    np.testing.assert_array_equal(info["action_mask"], [True, False, False])


@pytest.mark.parametrize("inner", ["CartPole-v1", "FrozenLake-v1", "Taxi-v3", "Blackjack-v1"])
def test_observations_and_masks_are_what_the_spaces_say(inner):
    env = gymnasium.make(inner)
    wrapper = TrainingCostWrapper(env, RepeatLastAction(env), steps=2)
    rng, ended = np.random.default_rng(0), True
    for k in range(100):
        if ended:
            obs, info = wrapper.reset(seed=k)
        if k % 5 == 0:
            wrapper.request_training()
        assert obs in wrapper.observation_space
        assert info["action_mask"].shape == (wrapper.action_space.n,)
        assert info["action_mask"].any()
        obs, _, terminated, truncated, info = wrapper.step(rng.integers(wrapper.action_space.n))
        ended = terminated or truncated


def test_the_actions_that_an_environment_allows_are_kept():
    env = gymnasium.make("Taxi-v3")
    wrapper = TrainingCostWrapper(env, RepeatLastAction(env))
    _, info = wrapper.reset(seed=0)
    own = env.unwrapped.action_mask(env.unwrapped.s).astype(bool)
    assert not own.all()
    np.testing.assert_array_equal(info["action_mask"], own)


class Strict(Line):
    """Says in one of the usual ways which actions it allows, and raises on the others.

    Allowed is the action whose number is that of the steps so far, mod 3, and the next one.
    """

    def __init__(self, says="info", as_type=np.int8, length=9):
        super().__init__(length)
        self._says, self._as_type = says, as_type
        if says == "observation":
            mask = spaces.Box(0, 1, (3,), as_type)
            self.observation_space = spaces.Dict(
                {"action_mask": mask, "observations": self.observation_space}
            )
        if says == "method":
            self.action_masks = self.allowed

    def allowed(self):
        mask = np.ones(3)
        mask[(len(self._played) + 2) % 3] = 0
        return mask.astype(self._as_type)

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        return self._seen(obs), info | self._info()

    def step(self, action):
        if not self.allowed()[action]:
            raise RuntimeError(f"action {action} is forbidden")
        obs, *rest, info = super().step(action)
        return self._seen(obs), *rest, info | self._info()

    def _seen(self, obs):
        if self._says != "observation":
            return obs
        return {"action_mask": self.allowed(), "observations": obs}

    def _info(self):
        return {"action_mask": self.allowed()} if self._says == "info" else {}


WAYS = [("info", np.int8), ("info", bool), ("info", np.float64), ("method", bool)]


@pytest.mark.parametrize("cost", [RepeatLastAction, FixedAction])
@pytest.mark.parametrize(("says", "as_type"), [*WAYS, ("observation", np.int8)])
def test_an_environment_that_raises_on_what_it_forbids_can_be_trained(cost, says, as_type):
    make = lambda: wrapped(2, cost, Strict(says, as_type))  # noqa: E731
    batch, rng = GymBatch(make, 2), np.random.default_rng(0)
    for k in range(200):
        if k % 3 == 0:
            batch.request_training(np.array([True, True]))
        assert batch.mask.dtype == batch.mask_with_training().dtype == bool
        batch.step(
            np.where(rng.random(2) < 0.5, batch.mask.argmax(axis=1), rng.integers(3, size=2))
        )
    assert batch.totals().training_jobs > 100


def test_training_leaves_what_both_allow_or_else_what_the_environment_allows():
    """The environment allows 0 and 1, then 1 and 2, then 2 and 0."""
    env = wrapped(9, RepeatLastAction, Strict())
    env.reset(seed=0)
    env.step(1)
    env.request_training()
    np.testing.assert_array_equal(env.action_masks(), [False, True, False])  # held, and allowed
    *_, info = env.step(1)
    np.testing.assert_array_equal(info["action_mask"], [1, 0, 1])  # 1 would be held: forbidden
    assert info["action_mask"].dtype == np.int8
    assert env.action_space.sample(mask=info["action_mask"]) != 1


def test_a_mask_does_not_outlive_its_episode():
    class OnlyInSteps(Strict):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)[0], {}

    env = wrapped(1, FixedAction, OnlyInSteps())
    env.reset(seed=0)
    env.step(0)
    assert not env.action_masks().all()
    env.reset(seed=0)
    assert env.action_masks().all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [([1, 0], r"action_mask has the shape \(2,\), not \(3,\)"), ([0, 0, 0], "allows no action")],
)
def test_a_mask_that_cannot_be_is_named(mask, message):
    env = Strict()
    env.allowed = lambda: np.array(mask)
    with pytest.raises(ValueError, match=message):
        GymBatch(lambda: wrapped(1, FixedAction, env)).step(np.array([0]))


def batch_of(steps=1, per="step", **line):
    return GymBatch(lambda: wrapped(steps, FixedAction, Line(**line)), 2, per=per)


@pytest.mark.parametrize("terminates", [True, False])
def test_a_step_that_ends_an_episode_keeps_what_it_led_to(terminates):
    batch = batch_of(length=2, terminates=terminates)
    batch.step(np.array([1, 1]))
    assert not batch.ended.any()
    batch.step(np.array([1, 1]))
    assert batch.ended.all()
    assert batch.terminated.all() == terminates
    np.testing.assert_allclose(batch.reached[:, 0], 0.2)
    np.testing.assert_array_equal(batch.observations[:, 0], 0.0)  # the next episode has begun
    batch.step(np.array([1, 1]))
    np.testing.assert_allclose(batch.reached[:, 0], 0.1)


def test_sums_by_hand():
    """Two environments, 7 steps, episodes of 3: 14 steps, 4 episodes with a return of 3 each."""
    for per, mean in (("episode", 3.0), ("step", 1.0), ("weight", 0.5)):
        batch = batch_of(steps=2, per=per, length=3)
        batch.request_training(np.array([True, False]))
        for _ in range(7):
            batch.step(np.array([1, 2]))
        totals = batch.totals()
        assert totals.mean_reward == mean
        assert (totals.slots, totals.episodes) == (14, 4)
        assert (totals.training_slots, totals.training_jobs) == (2, 1)
        np.testing.assert_array_equal(batch.since_training, [6, 7])
        again = totals_from_json(totals.to_json())
        assert isinstance(again, GymTotals)
        assert (again - totals).slots == 0


def test_who_names_no_weight_has_no_reward_per_weight():
    make = lambda: wrapped(1, RepeatLastAction, gymnasium.make("CartPole-v1"))  # noqa: E731
    batch = GymBatch(make, per="weight")
    with pytest.raises(ValueError, match=r"CartPoleEnv names none in info\["):
        batch.step(np.array([0]))


def test_a_saved_batch_goes_on_as_if_nothing_had_happened():
    make = lambda: wrapped(1, FixedAction, gymnasium.make("CartPole-v1"))  # noqa: E731
    one, other = GymBatch(make, 3, seed=4), GymBatch(make, 3, seed=5)
    rng = np.random.default_rng(0)
    actions = rng.integers(2, size=(200, 3))
    for k in range(100):
        one.request_training(actions[k] == 1)
        one.step(actions[k])
    other.set_state(one.get_state())
    for k in range(100, 200):
        np.testing.assert_array_equal(one.step(actions[k]), other.step(actions[k]))
        np.testing.assert_array_equal(one.observations, other.observations)
    assert one.totals() == other.totals()


def test_environment_k_is_the_same_whatever_n_is():
    make = lambda: wrapped(1, FixedAction, gymnasium.make("CartPole-v1"))  # noqa: E731
    whole, part = GymBatch(make, 3, seed=4), GymBatch(make, 1, seed=4, first_index=2)
    np.testing.assert_array_equal(whole.observations[2:], part.observations)
    assert len(np.unique(whole.observations[:, 0])) == 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: wrapped(cost=own_cost), "Line has no training_actions"),
        (lambda: FixedAction(Line(), 3), r"action 3 is none of 0..2"),
        (
            lambda: wrapped(env=gymnasium.make("Pendulum-v1")),
            r"actions must be Discrete\(A\), not Box",
        ),
    ],
)
def test_what_cannot_be_wrapped_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


class Tight(Line):
    """Says in which steps a training job must not go on."""

    tight = (3, 4, 7)

    @property
    def is_tight(self):
        return len(self._played) in self.tight


def test_a_training_job_in_pieces_pauses_while_deadlines_are_tight():
    """Five steps in pieces of two: steps 1 2, a pause while it is tight (3, 4), 5 6, one (7), 8."""
    env = TrainingCostWrapper(Tight(length=20), FixedAction(Line(), 1), steps=5, chunk=2)
    env.reset(seed=0)
    env.step(0)
    env.request_training()
    held, left = [], []
    for _ in range(9):
        held.append(env.action_masks().tolist() == [False, True, False])
        left.append(env.steps_left)
        env.step(2)
    # step k of these leads to k + 2 steps played, where the next piece is decided
    assert held == [True, True, False, False, True, True, False, True, False]
    assert left == [5, 4, 3, 3, 3, 2, 1, 1, 0]
    assert env.observation()[-1] == 0.0


def test_pieces_of_a_training_job_are_one_credit():
    gym = {"id": "LlmServing-v0", "cost": "own", "reward": "weight", "steps": 8}
    for chunk in (None, 2, 3):
        batch = EnvConfig.model_validate({"gym": gym | {"chunk": chunk}}).build_world(2, 1)
        rng, asked, completed = np.random.default_rng(0), 0, 0
        for _ in range(3000):
            wanted = batch.can_ask & (rng.random(2) < 0.02)
            batch.request_training(wanted)
            asked += wanted.sum()
            batch.step(np.where(batch.mask[:, 1], 1, np.where(batch.mask[:, 2], 2, 0)))
            completed += (batch.completed == 0).sum()
        totals = batch.totals()
        assert totals.training_jobs == completed
        under_way = [env.steps_left for env in batch.envs]
        assert asked == completed + np.count_nonzero(under_way)
        # whatever the pieces: a completed job has run for 8 slots, one under way for a part
        parts = sum(8 - left for left in under_way if left)
        assert totals.training_slots == 8 * completed + parts
        assert completed > 30


def test_a_saved_job_in_pieces_goes_on_as_if_nothing_had_happened():
    gym = {"id": "LlmServing-v0", "cost": "own", "steps": 8, "chunk": 2}
    one, other = (EnvConfig.model_validate({"gym": gym}).build_world(2, s) for s in (1, 2))
    rng = np.random.default_rng(0)
    actions = rng.integers(4, size=(600, 2))
    for k in range(303):
        one.request_training(rng.random(2) < 0.1)
        one.step(actions[k])
    other.set_state(one.get_state())
    assert max(env.steps_left for env in one.envs) > 0
    for k in range(303, 600):
        np.testing.assert_array_equal(one.step(actions[k]), other.step(actions[k]))
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.parametrize(
    ("gym", "message"),
    [
        ({"id": "CartPole-v1", "steps": 4, "chunk": 2}, "CartPoleEnv has no attribute is_tight"),
        ({"id": "Polling-v0", "steps": 2, "chunk": 4}, "chunk is 4, more than steps 2"),
    ],
)
def test_pieces_that_cannot_be_are_refused(gym, message):
    with pytest.raises(ValueError, match=message):
        EnvConfig.model_validate({"gym": gym}).build_world()
