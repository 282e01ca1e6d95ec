"""Whether a runner can play in compiled stretches, and the one that does."""

from typing import Any

import numpy as np

from mec_rllib.compiled import once_per_machine
from mec_rllib.envs.observation import Observations
from mec_rllib.gates.td_statistic import TDAverages
from mec_rllib.rl.exploration import EpsilonBest
from mec_rllib.rl.messages import Transitions
from mec_rllib.rl.stretch import Memory, Minds, Scratch, Terms, stretch
from mec_rllib.sim.jobs import Ints
from mec_rllib.sim.server import ServerBatch


def first_memory(obs: Observations, td: TDAverages, kinds: int, reasons: int) -> Memory:
    """Before the first slot; obs (N, F) is what is seen then."""
    return Memory(
        obs=obs.copy(),
        last_q=np.full(len(obs), np.nan),
        last_reward=np.zeros(len(obs)),
        td_error=np.full(len(obs), np.nan),
        td=td,
        credits=np.zeros(kinds, np.int64),
        requests=np.zeros(reasons, np.int64),
    )


class Stretch:
    """Plays the servers of a runner in compiled code.

    Args:
        runner: a `MecEnvRunner`.
        minds: who has a say.
        allowed: slots in which training jobs may be asked for.
    """

    def __init__(self, runner: Any, minds: Minds, allowed: range):
        self._servers: ServerBatch = runner.env.servers
        self._look, self._q = runner._exploration.look, runner._q
        self._minds, self._memory = minds, runner._memory
        gate, config = runner._gating.gate, runner.config
        self._terms = Terms(
            needs_psi=gate.needs_psi,
            occupies=gate.occupies,
            kind=config.training_kind or 0,
            allowed_from=allowed.start,
            allowed_until=allowed.stop,
            until_credit=False,
            discount=float(config.gamma),
            reward_scale=float(self._servers.reward_scale),
            servers=config.num_servers,
        )
        n, size = self._memory.obs.shape
        self._scratch = Scratch(
            both=np.empty((2 * n, size), np.float32),
            value=np.empty(n),
            value_flagged=np.empty(n),
            psi=np.full(n, np.nan),
            mask=np.empty_like(self._servers.mask),
            wanted=np.empty(n, bool),
            can_ask=np.empty(n, bool),
            kinds=np.empty(n, np.int64),
            use=np.empty(n),
            unknown=np.full(n, np.nan),
        )
        self._is_new = True  # not compiled, or not read yet
        # To hand a generator over takes longer than a slot: only where it is drawn from.
        self._rng = runner._rng if isinstance(minds.exploration, EpsilonBest) else None

    def play(self, rows: Transitions, earned: Ints, until_credit: bool) -> int:
        """Plays up to the length of the rows; returns how many slots were played.

        Args:
            rows: columns of shape (slots, N, ...), which are written.
            earned: (slots,) credits of each slot, which are written.
            until_credit: whether to return as soon as a training job is paid for.
        """
        servers, played = self._servers, 0
        terms = self._terms._replace(until_credit=until_credit)
        if self._is_new:
            self._is_new = False
            names = "-".join(type(mind).__name__ for mind in self._minds)
            with once_per_machine(stretch, names):
                self._call(terms, rows, earned, played=0, slots=0)
        while played < len(earned):
            until = self._look(servers, self._q)
            slots = min(len(earned) - played, until, servers.slots_ahead())
            done = self._call(terms, rows, earned, played, slots)
            servers.slot += done
            played += done
            if until_credit and earned[played - 1]:
                break
        return played

    def _call(self, terms: Terms, rows: Transitions, earned: Ints, played: int, slots: int) -> int:
        done: int = stretch(
            self._servers.field,
            self._minds,
            terms,
            self._memory,
            self._scratch,
            rows,
            played,
            self._servers.slot,
            slots,
            earned,
            self._rng,
        )
        return done


def stretch_of(runner: Any) -> Stretch | str:
    """What plays the servers of a runner in compiled code, or who has to be asked in each slot."""
    servers, config = runner.env.servers, runner.config
    if not isinstance(servers, ServerBatch):
        return f"{type(servers).__name__} is Python"
    if config.on_policy:
        return "the learner is on-policy"
    if runner._gating.gate.needs_agreement:
        return "a second network is asked"
    if runner._gating.gate.needs_price:
        return "the world is stored and played on"
    allowed = runner._gating.slots_allowed(runner)
    if allowed is None:
        return f"callback {type(runner._gating).__name__} is asked"
    minds = Minds(
        sight=runner.env.encoder.sight,
        network=getattr(runner._q, "compiled_network", None),
        gate=getattr(runner._gating.gate, "compiled_rule", None),
        exploration=runner._exploration.rule_for(servers, runner._q),
    )
    python = {
        "network": type(runner._q),
        "gate": type(runner._gating.gate),
        "exploration": type(runner._exploration),
    }
    for name, kind in python.items():
        if getattr(minds, name) is None:
            return f"{name} {kind.__module__}:{kind.__qualname__} is Python"
    return Stretch(runner, minds, allowed)
