"""Experiments from Python: a `Study` is what is to be played, `Results` is what came out.

    from mec_rllib import Study

    study = Study.load("tune_configs/demo.yaml", overrides=["seeds=[0]"])
    results = study.run("runs/demo")
    results.compare("ats", "pts")

The same as `mec-rllib tune` and `report`, with the same words; the files are the same, too.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from mec_rllib.config.study import Study as ResolvedStudy
    from mec_rllib.config.suite import Suite as ResolvedSuite


class Study:
    """An experiment: strategies x seeds on one environment.

    Args:
        config: the keys of a config file, as nested mappings (docs/config.md).

    Raises:
        ConfigError: an unknown key, strategy or value; one line that names the nearest right one.
    """

    def __init__(self, config: Mapping[str, Any]):
        from mec_rllib.config.load import build
        from mec_rllib.config.strategies import resolve

        self._study: ResolvedStudy = resolve(build(config, "config"))

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> "Study":
        """The study of a config file.

        Args:
            path: YAML file.
            overrides: as `--set` takes them: "env.load=0.6", the value in YAML.

        Raises:
            ConfigError: as above.
        """
        from mec_rllib.config.study_file import load_study

        return cls._of(load_study(path, overrides))

    @classmethod
    def _of(cls, resolved: "ResolvedStudy") -> "Study":
        study = cls.__new__(cls)
        study._study = resolved
        return study

    @property
    def strategies(self) -> list[str]:
        """Labels of the strategies."""
        return [strategy.label for strategy in self._study.strategies]

    @property
    def trials(self) -> list[tuple[str, int]]:
        """Label and seed of every trial."""
        return [(strategy.label, seed) for strategy, seed in self._study.trials]

    def check(self) -> list[str]:
        """Plays a few slots of every strategy, with its learner, in this process; as `check`.

        Returns:
            A line for every strategy.

        Raises:
            ConfigError: what would fail in a trial; one line, with file and line where the fault
                is in code of yours.
        """
        from mec_rllib.launch.rehearsal import check

        return list(check(self._study))

    def run(self, out: str | Path, address: str | None = None, resume: bool = False) -> "Results":
        """Plays all trials through Ray Tune, with progress on the terminal.

        Args:
            out: new folder for everything that the run writes.
            address: of a running Ray cluster (host:port or auto); None: a local Ray.
            resume: go on with what is in `out`, if this study was begun there.

        Raises:
            ConfigError: bad input; nothing is written then.
            RuntimeError: a trial failed; the others are kept.
        """
        _launch(self._study, Path(out), address, resume)
        return Results(out)

    def run_here(self, out: str | Path | None = None) -> "Results":
        """Plays all trials in this process, one after the other, without Tune.

        Args:
            out: folder for everything that the run writes, new or of this study, whose finished
                trials are not played again; None: a new one below the system's temporary folder.

        Raises:
            ConfigError: bad input, or a study with `search` or `pretrain`.
        """
        from mec_rllib.results.folder import Folder
        from mec_rllib.trials.here import play_here

        folder = Folder(out if out is not None else tempfile.mkdtemp(prefix="mec-rllib-"))
        play_here(self._study, folder)
        return Results(folder.path)


class Results:
    """What an experiment has come to so far, read from its folder.

    Works on any machine, without the modules of whoever ran it.

    Args:
        folder: of an experiment, finished or running.

    Raises:
        ConfigError: the folder holds no experiment.
    """

    def __init__(self, folder: str | Path):
        from mec_rllib.results.stored import read_study

        self.folder = Path(folder)
        self._stored = read_study(folder)

    def rows(self) -> "pd.DataFrame":
        """A row per finished trial, with the columns of `summary.json`."""
        import pandas as pd

        return pd.DataFrame([trial.row for trial in self._stored.trials if trial.is_finished])

    def reports(self) -> "pd.DataFrame":
        """Learning curves: a row per report, figures as "reward.window", of strategy and seed."""
        import pandas as pd

        frames = [
            pd.json_normalize(
                [{k: v for k, v in r.items() if k != "row"} for r in trial.reports]
            ).assign(strategy=trial.strategy, seed=trial.seed)
            for trial in self._stored.trials
            if trial.reports
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def compare(
        self, strategy: str, baseline: str, metric: str = "reward_lifetime"
    ) -> dict[str, Any]:
        """The difference between two strategies, paired by seed.

        Returns:
            `estimate`, `ci95` (Student's t over the seeds), `p`, `n`, and a `note` where there is
            no interval: one seed, or all of them equal.

        Raises:
            ConfigError: an unknown strategy.
        """
        from mec_rllib.results.compare import paired

        return paired(self._stored, strategy, baseline, metric)

    def claims(self) -> "pd.DataFrame":
        """The claims of the experiment, and what is decided about them so far."""
        import pandas as pd

        from mec_rllib.results.claims import decide

        return pd.DataFrame(decide(self._stored))

    def policy(self, strategy: str, seed: int = 0) -> "Policy":
        """The trained policy of a trial, from its newest checkpoint.

        Raises:
            ConfigError: it has no checkpoint, or a damaged one.
        """
        from mec_rllib.trials.checkpoints import checkpoint_at

        path, _ = checkpoint_at(self._stored.folder.trial(strategy, seed).path)
        return Policy.load(path)


class Suite:
    """Experiments that are played one after the other, and claims about all of them.

    Args:
        path: of the suite's file (docs/config.md).
        overrides: for every experiment, as `--set` takes them: "slots=1000", the value in YAML.

    Raises:
        ConfigError: bad input; one line that names the place.
    """

    def __init__(self, path: str | Path, overrides: Sequence[str] = ()):
        from mec_rllib.config.suite import load_suite

        self._suite: ResolvedSuite = load_suite(path, overrides)

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> "Suite":
        """The suite of a file, as `Study.load`."""
        return cls(path, overrides)

    @property
    def experiments(self) -> dict[str, Study]:
        """The studies by their labels, in the order in which they are played."""
        return {label: Study._of(study) for label, study in self._suite.worlds.items()}

    def run(
        self, out: str | Path, address: str | None = None, resume: bool = False
    ) -> "SuiteResults":
        """Plays all experiments through Ray Tune, each into `out`/LABEL; see `Study.run`.

        Raises:
            ConfigError: bad input; nothing is written then.
            RuntimeError: a trial failed; the others are kept.
        """
        _launch(self._suite, Path(out), address, resume)
        return SuiteResults(out)


class SuiteResults:
    """What a suite has come to so far, read from its folder.

    Args:
        folder: of a suite, finished or running.

    Attributes:
        experiments: the results of each experiment, by its label.

    Raises:
        ConfigError: the folder holds no suite.
    """

    def __init__(self, folder: str | Path):
        from mec_rllib.results.suite import read_suite

        self.folder = Path(folder)
        self._stored = read_suite(folder)
        worlds = self._stored.worlds
        self.experiments = {label: Results(world.folder.path) for label, world in worlds.items()}

    def rows(self) -> "pd.DataFrame":
        """A row per finished trial; the column `world` has the label of its experiment."""
        import pandas as pd

        frames = [results.rows().assign(world=label) for label, results in self.experiments.items()]
        return pd.concat(frames, ignore_index=True)

    def claims(self) -> "pd.DataFrame":
        """The claims of the suite, and what is decided about them so far."""
        import pandas as pd

        from mec_rllib.results.suite import decide_suite

        return pd.DataFrame(decide_suite(self._stored))


class Policy:
    """A trained policy: greedy, without exploring or training, as stable-baselines3 has it."""

    def __init__(self, rate: Any, actions: int):
        self._rate, self._actions = rate, actions

    @classmethod
    def load(cls, checkpoint: str | Path) -> "Policy":
        """The policy in a checkpoint; nothing of it is unpickled.

        Raises:
            ConfigError: no policy there, or a damaged one.
        """
        from mec_rllib.errors import ConfigError
        from mec_rllib.rl.modules import acting_function
        from mec_rllib.rl.policy_file import load_policy

        try:
            module, _ = load_policy(Path(checkpoint))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return cls(acting_function(module), int(module.action_space.n))

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        *,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Any]:
        """The allowed action with the highest value, as sb3-contrib's MaskablePPO says it.

        Args:
            observation: (F,) or (B, F).
            state: of recurrent policies; handed back.
            episode_start: not used.
            deterministic: must be True: there is nothing to draw.
            action_masks: (A,) or (B, A) actions that are allowed; None: all.

        Returns:
            The action, () or (B,), and `state`.

        Raises:
            ValueError: another size of observation or mask than the policy was trained with.
        """
        from mec_rllib.rl.masks import best_allowed

        if not deterministic:
            raise ValueError("the policy is greedy: deterministic must be True")
        rows = np.atleast_2d(np.asarray(observation, np.float32))
        masks = np.ones((len(rows), self._actions), bool) if action_masks is None else action_masks
        masks = np.atleast_2d(np.asarray(masks, bool))
        if masks.shape != (len(rows), self._actions):
            raise ValueError(
                f"action_masks must be {(len(rows), self._actions)}, not {masks.shape}"
            )
        actions, _ = best_allowed(self._rate(rows), masks)
        return (actions if np.ndim(observation) > 1 else actions[0]), state


def _launch(
    what: "ResolvedStudy | ResolvedSuite", out: Path, address: str | None, resume: bool
) -> None:
    from mec_rllib.launch import listen_here_only

    if address is None:
        listen_here_only()  # before Ray is imported
    from mec_rllib.launch.suite import launch

    if failures := launch(what, out, address, resume):
        raise RuntimeError("; ".join(failures))
