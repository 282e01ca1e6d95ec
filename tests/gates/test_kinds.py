"""Training jobs of several kinds: small and large ones, and who pays for which updates."""

import gate_slots
import numpy as np
import pytest

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.envs.config import EnvConfig
from mec_rllib.gates import ATS, PTS, Ideal, Never, build_gate
from mec_rllib.schedulers import SJF
from mec_rllib.sim.bursts import Bursts
from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.training_jobs import NO_KIND
from mec_rllib.sim.workloads import BernoulliWorkload, ScriptedWorkload

SMALL, LARGE = 0, 1
JOBS = [
    {"name": "small", "share": 0.5, "slots": 1, "updates": 2, "batch": 8},
    {"name": "large", "share": 1.0, "slots": 5, "updates": 20},
]


def server(*jobs):
    return ServerBatch(ScriptedWorkload(jobs), training_share=[0.5, 1.0], training_slots=[1, 2])


def play(batch, slots):
    for _ in range(slots):
        batch.step(np.zeros(1, np.int64))


def test_a_small_job_runs_beside_what_a_large_one_waits_for():
    """A user job holds 5 of 10 units in slots 0..3."""
    for kind, blocked, completed in ((SMALL, 0, [1, 0]), (LARGE, 3, [0, 1])):
        batch = server((0, 5, 4, 0, 1.0))
        batch.step(np.array([1]))
        batch.request_training(np.array([kind]))
        assert batch.training_waiting.all()
        play(batch, 5)
        assert batch.tally.blocked_slots[0] == blocked
        assert batch.tally.training_jobs[0].tolist() == completed


def test_the_kind_that_completed_is_named_and_each_kind_has_a_clock():
    batch = server()
    batch.request_training(np.array([LARGE]))
    play(batch, 1)
    assert batch.completed[0] == NO_KIND
    batch.request_training(np.array([SMALL]))  # one at a time: it changes nothing
    play(batch, 1)
    assert batch.completed[0] == LARGE
    assert batch.since_kind[0].tolist() == [2, 1]
    batch.request_training(np.array([SMALL]))
    play(batch, 1)
    assert batch.completed[0] == SMALL
    assert (batch.since_kind[0].tolist(), batch.since_training[0]) == ([1, 2], 1)


@pytest.mark.parametrize("kind", [-2, 2])
def test_a_kind_that_is_not_there_is_refused(kind):
    with pytest.raises(ValueError, match=rf"kinds 0\.\.1, not {kind}"):
        server().request_training(np.array([kind]))


@pytest.mark.parametrize("afterstates", [False, True])
def test_the_flag_names_the_kind(afterstates):
    """No unit is free for the large job, five are for the small one."""
    batch = server((0, 5, 9, 0, 1.0), (0, 5, 9, 0, 1.0), (1, 5, 9, 99, 1.0))
    batch.step(np.array([1]))
    encoder = encoder_of(batch, afterstates)
    obs = encoder.encode()
    for kind in (0, 1):
        flagged = encoder.encode_flagged(obs, kind)
        assert (flagged != obs).any()
        batch.request_training(np.array([kind]))
        np.testing.assert_array_equal(encoder.encode(), flagged)
        batch.servers.training[:] = 0
        batch.refresh()
    if not afterstates:
        assert [encoder.encode_flagged(obs, k)[0, -2:].tolist() for k in (0, 1)] == [[1, 0], [0, 1]]


def view(psi, since):
    """Of one server with several kinds of training jobs."""
    return gate_slots.view(psi=[psi], since=[since], td=0.0, idle=False, empty=False)


def kinds_gate(**options):
    """Costs 1 and 2: the small kind fires at its median, the large one at its 75th percentile."""
    small = {"percentile": 0.0001, "window": 4, "min_history": 4, "refresh": 1, "ties": "gt"}
    return ATS.of_kinds(1, [1.0, 2.0], **(small | options))


def test_each_kind_has_a_threshold_of_its_own_and_the_costliest_gets_its_way():
    gate, answers = kinds_gate(), []
    for small, large in ((1, 1), (2, 2), (3, 3), (4, 0), (5, 0), (0, 4), (9, 9), (9, 2.5)):
        answers.append(int(gate.wants(view([small, large], [9, 9]))[0]))
    # slot 3: small 4 > median 2.5 of 1 2 3 4; large 0 < 2.25, the 75th percentile of 1 2 3 0
    # slot 4: small 5 > 3.5; large 0.  5: small 0; large 4 > 3.25 of 3 0 0 4
    # slot 6: small 9 > 4.5, large 9 > 5.25 of 0 0 4 9.  7: small 9 > 7, large 2.5 < 5.25
    assert answers == [NO_KIND, NO_KIND, NO_KIND, SMALL, SMALL, LARGE, LARGE, SMALL]


def test_the_reason_is_that_of_the_kind_which_is_asked_for():
    gate = kinds_gate()
    for psi in ((1, 1), (2, 1), (3, 1), (4, 1)):  # of the large one every psi is a tie
        gate.wants(view(psi, [9, 9]))
    assert {name for name, where in gate.reasons().items() if where[0]} == {"psi"}
    unreliable = view([9, 9], [10**6, 0])._replace(td_statistic=np.array([0.5]))
    assert gate.wants(unreliable)[0] == SMALL  # the large one's time has not come
    assert {name for name, where in gate.reasons().items() if where[0]} == {"fallback"}
    gate.wants(view([-9, -9], [9, 9]))
    assert not any(where[0] for where in gate.reasons().values())


def test_kinds_share_what_one_kind_would_take():
    gate = ATS.of_kinds(1, [0.5, 5.0], period=100, percentile=99.0)
    assert [g.period for g in gate.gates] == [100, 1000]
    rates = [1 - g.percentile / 100 for g in gate.gates]
    np.testing.assert_allclose(rates, [0.01, 0.001])  # jobs per slot: 0.5 % of the server each


def test_kinds_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="in every slot"):
        ATS.of_kinds(1, [0.1, 0.1], percentile=50.0)


@pytest.mark.parametrize("gate", [Never, Ideal])
def test_a_gate_that_asks_for_no_job_need_not_choose(gate):
    assert type(build_gate(gate, 2, [0.5, 5.0], None)) is gate


def test_a_gate_that_cannot_choose_is_told_a_kind():
    assert isinstance(build_gate(PTS, 1, [0.5, 5.0], 1, period=7), PTS)
    assert isinstance(build_gate(PTS, 1, [5.0], None), PTS)  # there is one
    with pytest.raises(ValueError, match="PTS does not choose among kinds"):
        build_gate(PTS, 1, [0.5, 5.0], None)


def test_with_one_kind_it_is_ats():
    psis = np.round(np.random.default_rng(2).normal(size=3000), 1)
    kinds, plain = ATS.of_kinds(1, [1.0]), ATS(1)
    for psi in psis[:1500]:
        kinds.wants(view([psi], [500]))
        plain.wants(
            view([psi], [500])._replace(psi=np.array([psi]), since_training=np.array([500]))
        )
    restored = ATS.of_kinds(1, [1.0])
    restored.set_state(kinds.get_state())
    fired = 0
    for psi in psis[1500:]:
        one = view([psi], [500])._replace(psi=np.array([psi]), since_training=np.array([500]))
        wanted = plain.wants(one)[0]
        kind = 0 if wanted else NO_KIND
        assert kinds.wants(view([psi], [500]))[0] == restored.wants(view([psi], [500]))[0] == kind
        fired += wanted
    assert fired > 10


def strategy_of(servers=1, runners=0, agent="paper", **gate):
    values = {
        "agent": agent,
        "strategies": [gate],
        "env": {"training_job": JOBS, "load": 0.3},
        "runners": {"servers": servers, "num": runners},
    }
    return resolve(build(values, "test")).strategies[0]


@pytest.fixture
def trained(cluster):
    """Builds an algorithm, notes the batches that it draws, and trains it."""
    from mec_rllib.trials.learner_run import algorithm_config

    built = []

    def train(**strategy):
        algorithm = algorithm_config(strategy_of(**strategy), seed=3).build_algo()
        built.append(algorithm)
        batches, drawn = [], algorithm.replay.uniforms

        def noted(*shape):
            """Of a batch, or of all batches of a training job."""
            batches.extend([shape[-1]] * (shape[0] if len(shape) > 1 else 1))
            return drawn(*shape)

        algorithm.replay.uniforms = noted
        algorithm.slots_per_iteration = 2500 * strategy.get("servers", 1)
        algorithm.train()
        return algorithm, batches

    yield train
    for algorithm in built:
        algorithm.stop()


@pytest.mark.ray
@pytest.mark.parametrize(
    ("strategy", "kinds"),
    [
        ({"gate": "pts", "kind": "small", "period": 40}, [True, False]),
        ({"gate": "ats", "kind": "large", "period": 200}, [False, True]),
        ({"gate": "ats", "agent": "replay"}, [True, True]),
        ({"gate": "ats", "servers": 4}, [True, True]),
        ({"gate": "ats", "servers": 2, "runners": 1}, [True, True]),
        ({"gate": "ats", "agent": "sac"}, [True, True]),
    ],
)
def test_every_update_is_paid_for_by_its_kind(trained, strategy, kinds):
    algorithm, batches = trained(**strategy)
    jobs = algorithm.totals.training_jobs_of_kinds
    assert (jobs > 0).tolist() == kinds
    assert algorithm.credits.tolist() == jobs.tolist()
    assert algorithm.updates.tolist() == (jobs * [2, 20]).tolist()
    assert [batches.count(batch) for batch in (8, 32)] == algorithm.updates.tolist()
    assert jobs.sum() == algorithm.totals.training_jobs
    slots = algorithm.totals.training_slots - jobs @ [1, 5]
    assert 0 <= slots < 5 * algorithm.config.num_envs_per_env_runner  # of jobs that still run


@pytest.mark.ray
def test_a_world_with_other_kinds_than_the_gate_pays_for_is_refused(cluster):
    from mec_rllib.trials.learner_run import algorithm_config

    config = algorithm_config(strategy_of(gate="ats"), seed=0)
    with pytest.raises(ValueError, match="2 kinds of training jobs"):
        config.gating(updates_per_job=[1, 2, 3]).build_algo()


@pytest.mark.compiled
def test_bursts_keep_the_mean_load_and_bring_jobs_together():
    workloads = [
        BernoulliWorkload(REFERENCE_CLASSES, 0.4, bursts=bursts)
        for bursts in (None, Bursts(4, 50, 250))
    ]
    spread = []
    for workload in workloads:
        rng, arrivals = np.random.default_rng(1), []
        for start in range(0, 400 * 1024, 1024):
            jobs = workload.arrivals(rng, start, start + 1024)
            arrivals.append(jobs.arrival)
        counts = np.bincount(np.concatenate(arrivals) // 25, minlength=400 * 1024 // 25)
        assert counts.mean() == pytest.approx(25 * workload.job_rate(0), rel=0.03)
        spread.append(counts.var() / counts.mean())
    assert spread[0] == pytest.approx(1.0, abs=0.1)
    assert spread[1] > 2.0


def test_the_phases_of_bursts_have_their_loads_and_lengths():
    bursts = Bursts(factor=4, slots=50, every=250)
    assert (bursts.calm, bursts.busy) == (1 / 1.6, 4 / 1.6)
    rates = bursts.rates(np.random.default_rng(0), 2_000_000)
    assert set(rates) == {bursts.calm, bursts.busy}
    assert rates.mean() == pytest.approx(1.0, rel=0.02)
    begins = np.count_nonzero(np.diff(rates) > 0)
    assert 2_000_000 / begins == pytest.approx(250, rel=0.05)


def test_servers_have_bursts_of_their_own_whatever_their_number():
    env = EnvConfig(load=0.4, bursts={})
    alone, fleet = env.build_servers(1, seed=3), env.build_servers(4, seed=3)
    for batch in (alone, fleet):
        for _ in range(3000):
            batch.step(SJF().select(batch))
    arrived = fleet.tally.jobs[:, :, 0]
    np.testing.assert_array_equal(alone.tally.jobs[0, :, 0], arrived[0])
    assert len({tuple(row) for row in arrived.tolist()}) == 4


@pytest.mark.ray
def test_ats_chooses_where_a_config_of_python_names_no_kind(cluster):
    from mec_rllib.rl import GatedDQNConfig

    env = EnvConfig(training_job=JOBS, load=0.3).model_dump()
    config = GatedDQNConfig().environment(env_config=env).gating("ats", updates_per_job=[2, 20])
    algorithm = config.build_algo()
    algorithm.train()
    algorithm.train()
    jobs = algorithm.totals.training_jobs_of_kinds
    assert algorithm.updates.tolist() == (jobs * [2, 20]).tolist()
    assert jobs.sum() > 0
    algorithm.stop()
    with pytest.raises(ValueError, match="PTS does not choose among kinds"):
        config.copy().gating("pts").build_algo()
