"""Which gate is better at my load? Two gates and a rule, from Python, in this process.

python -m examples.from_python
"""

from mec_rllib import Results, Study


def main(slots: int = 20_000, seeds: tuple[int, ...] = (0, 1, 2)) -> Results:
    """Plays every strategy with every seed; the seeds bring the same jobs to all of them."""
    study = Study(
        {
            "strategies": ["ats", "pts", "reservation"],
            "seeds": list(seeds),
            "slots": slots,
            "env": {"load": 0.6},
        }
    )
    results = study.run_here()  # study.run("runs/mine") plays through Ray Tune, on all cores
    rows = results.rows()
    print(rows.groupby("strategy")[["reward_lifetime", "share_training"]].mean())
    print("ats - pts:", results.compare("ats", "pts"))
    return results


if __name__ == "__main__":
    main()
