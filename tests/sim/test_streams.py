"""Random streams: every purpose has its own, and they all come from one place."""

import re
from itertools import product
from pathlib import Path

import numpy as np

from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.schedulers import RandomScheduler
from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.streams import Purpose, generator, seed_of, sequence_of
from mec_rllib.sim.workloads import BernoulliWorkload

ROOT = Path(__file__).parents[2]


def test_no_two_purposes_coincide_for_a_thousand_seeds():
    streams = list(product(range(1000), Purpose, range(3)))
    starts = {sequence_of(*stream).generate_state(4).tobytes() for stream in streams}
    plain = {np.random.SeedSequence(seed).generate_state(4).tobytes() for seed in range(1000)}
    listed = {
        np.random.SeedSequence([seed, index]).generate_state(4).tobytes()
        for seed, index in product(range(1000), range(3))
    }
    assert len(starts) == len(streams)
    assert not starts & (plain | listed)  # those of code that seeds by itself


def test_a_stream_is_the_same_again_and_differs_by_seed_purpose_and_index():
    first = generator(3, Purpose.ACTING, 1).random(4).tolist()
    assert first == generator(3, Purpose.ACTING, 1).random(4).tolist()
    for other in ((4, Purpose.ACTING, 1), (3, Purpose.REPLAY, 1), (3, Purpose.ACTING, 2)):
        assert first != generator(*other).random(4).tolist()
    assert 0 <= seed_of(3, Purpose.EPISODES) < 2**31
    assert seed_of(3, Purpose.EPISODES) != seed_of(3, Purpose.EPISODES, 1)


def test_servers_replay_and_random_rule_draw_independently():
    batch = ServerBatch(BernoulliWorkload(REFERENCE_CLASSES), num_servers=3, seed=5)
    states = [rng.bit_generator.state["state"]["inc"] for rng in batch.rngs]
    for other in (PrioritizedReplay(4, 1, 2, seed=5), RandomScheduler(5)):
        states.append(other._rng.bit_generator.state["state"]["inc"])
    assert len(set(states)) == 5  # PCG64's increment tells streams apart


def test_nobody_derives_a_stream_elsewhere():
    seeds = re.compile(r"default_rng\(|SeedSequence\(|RandomState\(seed|np\.random\.seed")
    places = [
        str(path.relative_to(ROOT))
        for folder in ("mec_rllib", "callbacks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if seeds.search(path.read_text(encoding="utf-8"))
        and path.parent != ROOT / "mec_rllib/project/files"  # of a user's project, from then on
    ]
    # The made traces are files, written once; no run draws from their streams.
    assert places == ["mec_rllib/sim/streams.py", "mec_rllib/sim/traces/made.py"]
