"""Finished trials for tests of what is made of them."""

from mec_rllib.results.stored import TrialResults


def trial(strategy, seed, reward, reports=(), **row):
    metrics = ("reward_lifetime", "reward_last20", "reward_greedy")
    row = {"strategy": strategy, "seed": seed, "share_training": 0.01} | row
    last = {"row": row | dict.fromkeys(metrics, reward)}
    reports = [*reports[:-1], reports[-1] | last] if reports else [last]
    return TrialResults(strategy, seed, reports)
