"""What claims measure, by hand: rewards and shares of made-up trials, and when nothing is said."""

import math

import pytest
from made_up_trials import trial
from stored import SHIPPED_CLAIMS, stored

from mec_rllib.errors import ConfigError
from mec_rllib.results.claims import check_claims, decide, measure_of
from mec_rllib.results.measures import MEASURES, Finished

SEEDS = (0, 1)


def decided(strategies, trials_of=None, **config):
    """Claims by id; strategies: label -> (what the config says of it, reward, rest of the row)."""
    entries, trials = [], []
    for label, (entry, reward, *row) in strategies.items():
        entries.append(entry | {"label": label})
        reports = (trials_of or {}).get(label, ())
        trials += [trial(label, seed, reward, reports, **(row[0] if row else {})) for seed in SEEDS]
    claims = list(SHIPPED_CLAIMS.values())
    return {c["id"]: c for c in decide(stored(trials, strategies=entries, claims=claims, **config))}


def estimate(claim, strategies, trials_of=None, **config):
    """None where the claim is not made."""
    claims = decided(strategies, trials_of, **config)
    return pytest.approx(claims[claim]["estimate"]) if claim in claims else None


def gate(name, reward, **options):
    return ({"gate": name} | options, reward)


def test_the_best_pts_is_that_of_the_highest_mean_and_there_must_be_two():
    two = {"ats": gate("ats", 0.8), "a": gate("pts", 0.79), "b": gate("pts", 0.7)}
    assert estimate("ats_above_best_pts", two) == 0.8 - 0.79
    assert estimate("ats_above_best_pts", {k: two[k] for k in ("ats", "a")}) is None


def test_always_alone_says_nothing_of_always():
    assert estimate("always_worst", {"always": gate("always", 0.2)}) is None
    assert estimate("always_worst", {"pts": gate("pts", 0.2)}) is None


@pytest.mark.parametrize(("ats", "expected"), [(0.75, 0.45), (0.9, 0.5), (None, 0.5)])
def test_the_lowest_gate_that_goes_on_counts_of_pts_the_best(ats, expected):
    """The best of PTS has 0.8; ats counts as it is."""
    strategies = {"frozen": gate("ats", 0.3), "a": gate("pts", 0.8), "b": gate("pts", 0.7)}
    if ats is not None:
        strategies["ats"] = gate("ats", ats)
    assert estimate("frozen_lowest", strategies) == expected


def test_to_stop_is_compared_with_other_gates_only():
    assert estimate("frozen_lowest", {"frozen": gate("ats", 0.3)}) is None
    without_pts = {"frozen": gate("ats", 0.3), "ats": gate("ats", 0.75)}
    assert estimate("frozen_lowest", without_pts) == 0.45


def test_the_better_of_the_kinds_is_that_of_the_highest_mean():
    jobs = [{"name": "b", "share": 0.5, "slots": 1}, {"name": "a", "share": 1.0, "slots": 5}]
    env = {"training_job": jobs}
    strategies = {"ats_kinds": gate("ats", 0.9)}
    assert estimate("ats_kinds_above_best_kind", strategies, env=env) is None
    strategies |= {"ats-large": gate("ats", 0.8, kind="a")}
    assert estimate("ats_kinds_above_best_kind", strategies, env=env) is None  # one is no choice
    strategies |= {"ats-small": gate("ats", 0.7, kind="b")}
    assert estimate("ats_kinds_above_best_kind", strategies, env=env) == 0.9 - 0.8


def test_shares_of_training_are_held_against_each_other():
    shares = {"ats": 0.015, "budget": 0.004}
    strategies = {
        name: ({"gate": name}, 0.8, {"share_training": share}) for name, share in shares.items()
    }
    assert estimate("ats_trains_little", strategies) == 0.015  # the share itself, bound 0.02
    assert estimate("budget_trains_less", strategies) == 0.5 * 0.015 - 0.004


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ({"load": 0.5}, []),
        ({"load": 0.6}, ["0.6"]),
        ({"load": 0.9}, ["0.6", "0.9"]),
        ({"load": [[0, 0.9], [100, 0.95]]}, []),
        ({"load": 0.9, "workload": "drift"}, []),
    ],
)
def test_some_claims_are_about_a_constant_load_and_how_high_it_is(workload, said):
    both = {"deployable": gate("ats", 0.8), "reservation": ({"scheduler": "reservation"}, 0.7)}
    claims = decided(both, env=workload)
    name = "deployable_above_rule_"
    assert [c.removeprefix(name) for c in claims if c.startswith(name)] == said


@pytest.mark.parametrize(
    ("load", "is_said"), [(0.3, False), ([[0, 0.3], [9, 0.1]], False), ([[0, 0.1], [9, 0.3]], True)]
)
def test_what_is_about_changes_is_said_where_the_load_rises(load, is_said):
    of = {"better": "a", "worse": "b", "load_changes": True}
    claim = {"id": "c", "text": "a is above b", "measure": "difference", "of": of}
    trials = [trial(name, seed, r) for name, r in (("a", 0.8), ("b", 0.7)) for seed in SEEDS]
    strategies = [{"gate": "ats", "label": name} for name in "ab"]
    study = stored(trials, strategies=strategies, claims=[claim], env={"load": load})
    assert [c["estimate"] for c in decide(study)] == ([pytest.approx(0.1)] if is_said else [])


@pytest.mark.parametrize(
    ("share", "others", "expected"),
    [
        # between the logarithms of 0.001 and 0.1, where PTS has 0.5 and 0.9
        (0.01, {0.001: 0.5, 0.1: 0.9}, 0.8 - 0.7),
        (0.01, {0.1: 0.9, 0.001: 0.5, 0.9: 0.0}, 0.8 - 0.7),
        (0.2, {0.001: 0.5, 0.1: 0.9}, 0.8 - 0.9),  # beyond the last one: as that one
        (1e-4, {0.0: 0.5, 0.01: 0.9}, 0.8 - 0.7),  # none at all is taken for 1e-6
        (0.0, {1e-8: 0.5, 0.01: 0.9}, 0.8 - 0.5),
        (0.01, {0.001: 0.5}, None),
    ],
)
def test_pts_of_an_equal_share_lies_between_its_periods(share, others, expected):
    strategies = {
        "td_slope": ({"gate": "examples.gates.td_slope:TDSlope"}, 0.8, {"share_training": share})
    }
    for k, (other, reward) in enumerate(others.items()):
        strategies[f"p{k}"] = ({"gate": "pts"}, reward, {"share_training": other})
    assert estimate("td_slope_above_pts", strategies) == expected


def test_the_report_in_which_the_load_begins_to_rise_is_before_the_rise():
    """Gaps 0.1, 0.3 until slot 200, then 0.5 and 0.4."""
    rewards = {"ats": [0.6, 0.8, 0.9, 0.8], "pts": [0.5, 0.5, 0.4, 0.4]}
    reports = {
        name: [{"timesteps_total": 100 * k, "reward": {"window": r}} for k, r in enumerate(rs, 1)]
        for name, rs in rewards.items()
    }
    both = {"ats": gate("ats", 0.8), "pts": gate("pts", 0.7)}
    load = [[0, 0.1], [200, 0.1], [400, 0.3]]
    assert estimate("ats_blocks_less", both, reports, env={"load": load}) == 0.45 - 0.2


def evaluated(*rewards):
    """Reports of 100 slots, each with a greedy evaluation."""
    return [
        {
            "timesteps_total": 100 * k,
            "reward": {"window": 0},
            "greedy": {"slot": 100 * k, "reward": r},
        }
        for k, r in enumerate(rewards, 1)
    ]


@pytest.mark.parametrize(
    ("pts", "earlier"),
    [
        # final 0.8 (mean of the last fifth, here one): 0.76 is 95 % of it
        ((0.1, 0.5, 0.75, 0.76, 0.8), 200),  # slot 400, ats has 95 % of 0.9 at 200
        ((0.86, 0.5, 0.75, 0.76, 0.8), -100),  # the first time counts
        ((None, 0.5, 0.75, 0.76, 0.8), 200),  # no job was resolved
        ((0.0, 0.0, 0.0, -0.1, -0.1), math.nan),  # there is no such slot
    ],
)
def test_who_has_most_of_the_final_policy_earlier(pts, earlier):
    both = {"ats": gate("ats", 0.8), "pts": gate("pts", 0.7)}
    reports = {"ats": evaluated(0.3, 0.86, 0.7, 0.8, 0.9), "pts": evaluated(*pts)}
    found = decided(both, reports)["ats_adapts_earlier"]
    assert found["estimate"] == pytest.approx(earlier, nan_ok=True)
    assert found["unit"] == "slots"
    without = {"ats": reports["ats"], "pts": [{"timesteps_total": 100, "reward": {"window": 0}}]}
    assert "ats_adapts_earlier" not in decided(both, without)


def test_the_greedy_policies_are_compared_on_the_way():
    both = {"ats": gate("ats", 0.8), "pts": gate("pts", 0.7)}
    reports = {"ats": evaluated(0.3, 0.9), "pts": evaluated(0.2, 0.6)}
    assert estimate("ats_above_pts_while_learning", both, reports) == 0.6 - 0.4


def test_a_claim_of_an_older_folder_keeps_its_measure_by_its_former_name():
    claim = SHIPPED_CLAIMS["ats_blocks_less"]
    measured = MEASURES[measure_of(claim | {"measure": "adapts_faster"})]
    assert measured is MEASURES[claim["measure"]]
    with pytest.raises(ConfigError, match="measure adapts_faster is now blocks_less"):
        check_claims([claim | {"measure": "adapts_faster"}], ["ats", "pts"])


def test_a_gate_that_trains_for_free_is_no_rival_of_those_that_pay():
    strategies = [
        *("ats", "pts", "ideal"),
        {"gate": "pts", "free": True, "label": "pts-free"},
        {"gate": "pts", "period": 50, "label": "pts50"},
    ]
    labels = ("ats", "pts", "ideal", "pts-free", "pts50")
    finished = Finished(stored([trial(s, 0, 0.5) for s in labels], strategies=strategies))
    assert finished.select({"gate": "pts"}) == ["pts", "pts50"]
    assert finished.select({"gate": "paying"}) == ["ats", "pts", "pts50"]
    assert finished.select({"gate": "ideal"}) == ["ideal"]


def corrupted(shares, slot):
    reports = [
        {"timesteps_total": 5000 * k, "gate": {"fallback_share": s}}
        for k, s in enumerate(shares, 1)
    ]
    return decided(
        {"ats-corrupt": gate("ats", 0.5)},
        {"ats-corrupt": reports},
        learner={"corrupt": {"slot": slot}},
    )


@pytest.mark.parametrize("slot", [15_001, 20_000])
def test_the_fallback_is_compared_10_000_slots_before_and_after(slot):
    """The damage is done at the end of the report of slot 20,000; windows leave out 10,000."""
    shares = [1.0, 1.0, 0.2, 0.4, 1.0, 0.8, 0.0, 1.0, 0.05, 0.15]
    claims = corrupted(shares, slot)
    assert claims["fallback_acts"]["estimate"] == pytest.approx(0.9 - 0.3)
    assert claims["fallback_lets_go"]["estimate"] == pytest.approx(0.1)


def test_a_damage_needs_a_report_after_it():
    shares = [0.0, 0.0, 1.0, 1.0]
    assert "fallback_acts" in corrupted(shares, 15_000)
    assert "fallback_acts" not in corrupted(shares, 15_001)
    assert "fallback_acts" not in corrupted(shares, 20_001)


def test_a_rival_is_named_in_full():
    """`budget` is not `ats`; several names, or one."""
    strategies = [
        {"gate": "ats", "kind": "a", "label": "ats"},
        {"gate": "budget", "kind": "a", "label": "budget"},
        {"gate": "pts", "kind": "a", "label": "pts"},
        {"scheduler": "sjf", "label": "sjf"},
    ]
    trials = [trial(s["label"], 0, 0.5) for s in strategies]
    jobs = [{"name": "a", "share": 0.5, "slots": 1}, {"name": "b", "share": 1.0, "slots": 5}]
    finished = Finished(stored(trials, strategies=strategies, env={"training_job": jobs}))
    for rivals, labels in (
        ({"gate": "budget"}, ["budget"]),
        ({"gate": ["ats", "pts"]}, ["ats", "pts"]),
        ({"gate": "paying"}, ["ats", "budget", "pts"]),
        ({"scheduler": "any"}, ["sjf"]),
        (["pts", "nobody"], ["pts"]),
    ):
        assert finished.select(rivals) == labels
