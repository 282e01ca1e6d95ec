"""What came out of a run? Curves, rows and claims of a folder, without the code that ran it.

python -m examples.read_results runs/demo
"""

import sys

import pandas as pd

from mec_rllib import Results


def main(folder: str) -> pd.DataFrame:
    """Prints the rows and the claims; returns the learning curves, a column per strategy."""
    results = Results(folder)
    print(results.rows()[["strategy", "seed", "reward_lifetime", "training_jobs"]])
    print(results.claims())
    reports = results.reports()
    return reports.pivot_table("reward.window", "timesteps_total", "strategy")  # mean over seeds


if __name__ == "__main__":
    print(main(sys.argv[1]))
