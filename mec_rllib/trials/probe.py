"""Does psi know what a training job costs? A trial is played again and looked at on its way.

Every so many slots the world of the first server is stored and played on: futures of the greedy
agent, each with and without a training job. psi, use and queue of that slot are noted beside what
the job took away. Nothing of the trial changes by it: it ends with the row that it had.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mec_rllib.config.study import Strategy, Study
from mec_rllib.config.study_file import load_study
from mec_rllib.errors import ConfigError
from mec_rllib.files import write_json
from mec_rllib.results.folder import Folder
from mec_rllib.results.stored import read_study
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.trials.check import check
from mec_rllib.trials.futures import Futures
from mec_rllib.trials.trial import Trial

OF_THE_MACHINE = ("wall_s", "node")  # of a row


class Terms(NamedTuple):
    """How a trial is looked at."""

    every: int  # slots of each server between two looks
    futures: int
    ahead: int  # slots that a future is played


class Probed:
    """A run that is looked at while it plays; everything else is that of the run.

    Args:
        run: of a strategy that learns, in this process.
        strategy: that it is of.
        seed: of the trial.
        terms: how it is looked at.
    """

    def __init__(self, run: Any, strategy: Strategy, seed: int, terms: Terms):
        self._run, self._terms = run, terms
        self._futures = Futures(strategy, terms.futures, terms.ahead)
        self._rng = generator(seed, Purpose.PROBE)
        self._due = terms.every  # slots of each server until the next look
        self.looks: list[dict[str, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def play(self, slots: int) -> dict[str, Any]:
        """Plays the slots in pieces, with a look after each."""
        world, result = self._run.world, {}
        until = world.slot + -(-slots // world.num_servers)
        while world.slot < until:
            before = world.slot
            piece = min(self._due, until - before)
            result = self._run.play(piece * world.num_servers)
            self._due -= world.slot - before
            if self._due <= 0:
                self._due = self._terms.every
                self._look()
        return result

    def _look(self) -> None:
        world = self._run.world
        if not world.can_ask[0]:
            return
        prices = self._futures.prices(world, 0, self._run.policy(), self._rng)
        halves = prices[::2].mean(), prices[1::2].mean()
        self.looks.append(
            {
                "slot": int(world.slot),
                "updates": self._run.learner_updates,
                "psi": float(self._run.psi()[0]),
                "use": float(world.use[0]),
                "queue": float(world.queue[0]),
                "price": float(prices.mean()),
                "half": float(halves[0]),
                "other_half": float(halves[1]),
            }
        )


def probe(
    folder: Path, terms: Terms, only: str | None = None, say: Callable[[str], None] = print
) -> None:
    """Plays the finished trials of gates again and writes down what was seen, trial by trial.

    What has been probed in the same way already is left as it is.

    Args:
        folder: of an experiment.
        terms: how they are looked at.
        only: label of the only strategy; None: all that learn.
        say: is told a line for each trial.

    Raises:
        ConfigError: no experiment, no such strategy, nothing that can be probed.
    """
    where = Folder(folder)
    read_study(folder)
    study = load_study(where.config)
    for strategy, seed in _trials(study, where, only):
        file = where.trial(strategy.label, seed).probe
        if file.is_file():
            say(f"{strategy.label}, seed {seed}: is there already ({file})")
            continue
        looks, row = _played_again(strategy, seed, terms)
        write_json(file, terms._asdict() | {"looks": looks})
        before = _row_of(folder, strategy.label, seed)
        same = all(row[key] == before.get(key) for key in row if key not in OF_THE_MACHINE)
        note = "" if same else "; its row differs from the folder's: other code or another machine"
        say(f"{strategy.label}, seed {seed}: {len(looks)} looks{note}")


def _trials(study: Study, folder: Folder, only: str | None) -> list[tuple[Strategy, int]]:
    """The trials to look at, checked before any is played.

    Raises:
        ConfigError: there is none.
    """
    if only is not None and only not in study.by_label:
        known = ", ".join(study.by_label)
        raise ConfigError(f"--strategy: no strategy is called {only!r}; known: {known}")
    if study.experiment.pretrain is not None or study.experiment.runners.num:
        raise ConfigError(
            "probe: plays trials of one process from slot 0: no pretrain, runners.num 0"
        )
    trials = list(_finished(study, folder, only))
    if not trials:
        raise ConfigError(f"{folder.path}: holds no finished trial of a gate")
    for strategy in {s.label: s for s, _ in trials}.values():
        check(strategy)
        Futures(strategy, 1, 1)
    return trials


def _finished(study: Study, folder: Folder, only: str | None) -> Iterator[tuple[Strategy, int]]:
    finished = {(t.strategy, t.seed) for t in read_study(folder.path).trials if t.is_finished}
    for strategy, seed in study.trials:
        is_asked = strategy.learns and only in (None, strategy.label)
        if is_asked and (strategy.label, seed) in finished:
            yield strategy, seed


def _played_again(
    strategy: Strategy, seed: int, terms: Terms
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """What was seen, and the row."""
    from mec_rllib.trials.runs import start_run

    run = Probed(start_run(strategy, seed), strategy, seed, terms)
    trial = Trial(strategy.label, seed, strategy.experiment, run)
    try:
        result: dict[str, Any] = {}
        while not trial.is_done:
            result = trial.play_report()
    finally:
        run.stop()
    return run.looks, result["row"]


def _row_of(folder: Path, label: str, seed: int) -> dict[str, Any]:
    trials = read_study(folder).trials
    return next(t.row for t in trials if (t.strategy, t.seed) == (label, seed))
