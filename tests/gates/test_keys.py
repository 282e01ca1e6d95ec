"""The keys of the built-in gates: what they may be, and that each of them is explained."""

import pytest

from mec_rllib.gates import GATES, Always, Gate, Ideal
from mec_rllib.gates.scores import NAMES
from mec_rllib.section import section_of

# The smallest and the largest value, and the nearest ones that are refused.
LIMITS = {
    "period": (1, 10**9, 0, 10**9 + 1),
    "percentile": (1.001, 99.999, 1.0, 100.0),
    "window": (2, 10**7, 1, 10**7 + 1),
    "min_history": (1, None, 0, None),
    "refresh": (1, 10**9, 0, 10**9 + 1),
    "td_cutoff": (0.0, 1e9, -1e-9, 1.1e9),
    "longest_wait": (1, 10**12, 0, 10**12 + 1),
    "per_slot": (1e-9, 1.0, 0.0, 1.001),
    "rate": (1e-9, 1.0, 0.0, 1.001),
    "burst": (1, 10**9, 0, 10**9 + 1),
    "ahead": (0, 10**9, -1, 10**9 + 1),
    "forced_after": (1, 10**12, 0, 10**12 + 1),
    "apart": (1, 10**9, 0, 10**9 + 1),
    "least_agreement": (-1.0, 1.0, -1.001, 1.001),
}
CHOICES = {
    "ties": ("ge", "gt", "random"),
    "fallback": ("pts", "idle", "server_empty"),
    "score": NAMES,
    "reliability": ("td", "agreement"),
    "warm_up": (None,),
}
KEYS = [(name, key) for name, gate in GATES.items() for key in section_of(gate).model_fields]


@pytest.mark.parametrize(("gate", "key"), KEYS)
def test_a_key_has_its_limits_and_its_meaning(gate, key):
    section = section_of(GATES[gate])
    assert section.model_fields[key].description
    if key in CHOICES:
        for value in CHOICES[key]:
            assert getattr(section(**{key: value}), key) == value
        refused = ["lt"]
    else:
        lowest, highest, *refused = LIMITS[key]
        for value in (lowest, highest):
            if value is not None:
                assert getattr(section(**{key: value}), key) == value
    for value in refused:
        if value is not None:
            with pytest.raises(ValueError, match=key):
                section(**{key: value})


def test_a_moment_that_need_not_be_waited_for_is_null():
    for gate in ("idle", "ats", "budget"):
        if "longest_wait" in section_of(GATES[gate]).model_fields:
            assert section_of(GATES[gate])(longest_wait=None).longest_wait is None


def test_who_trains_all_the_time_makes_one_update_at_once():
    assert (Gate.updates_per_job, Always.updates_per_job, Ideal.updates_per_job) == (32, 1, 1)
