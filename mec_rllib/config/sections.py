"""The sections of the config file: typed keys, their bounds, and what they mean."""

import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator

from mec_rllib.section import Section


class GateConfig(Section):
    """When to train: what goes for every gate; a gate's own keys are those of its constructor."""

    model_config = ConfigDict(extra="allow")

    td_rate: float = Field(5e-4, gt=0, le=1, description="rate of the TD statistic's averages")
    kind: str | None = Field(
        None,
        description="kind of training job it asks for, where env.training_job has several; "
        "null = it chooses, as ats does",
    )
    free: bool = Field(
        False,
        description="its training jobs hold nothing and complete at once, as ideal's do; all else "
        "is as usual",
    )
    until: int | None = Field(
        None,
        ge=0,
        le=10**12,
        description="no training job from this slot of each server on; null = for ever",
    )
    updates_per_job: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="K learner updates per training job; null = 32, for ideal and always 1",
    )


class ObserveConfig(Section):
    """What the agent sees: the paper's buffer rows and extras, or afterstates."""

    afterstates: bool = Field(
        False,
        description="show where each action leads instead; the network values these afterstates",
    )
    free_ahead: int = Field(0, ge=0, le=10_000, description="show the free share 1..n slots ahead")
    job_class: bool = Field(False, description="show each job's class, one-hot")
    hide_weights: bool = Field(
        False,
        description="afterstates: not told what a class is worth, nor the certain reward; the "
        "agent learns it from rewards",
    )

    @model_validator(mode="after")
    def _extras_are_of_rows(self) -> Self:
        if self.hide_weights and not self.afterstates:
            raise ValueError("hide_weights is for afterstates: rows never show weights")
        if self.afterstates and (self.free_ahead or self.job_class):
            raise ValueError("afterstates show neither free_ahead nor job_class: they have no rows")
        return self


class CorruptConfig(Section):
    """Damage on purpose, to see whether the gate notices that its Q-values are unreliable."""

    slot: int | None = Field(
        None,
        ge=0,
        le=10**12,
        description="damage the network at the first report from this slot on (all servers "
        "together); null = never",
    )
    noise: float = Field(
        1.0, gt=0, le=1e6, description="noise on each layer's weights, in their standard deviations"
    )


class ImaginedConfig(Section):
    """How a training job imagines: the servers that it plays, and how it learns from them."""

    servers: int = Field(64, ge=1, le=100_000, description="imagined servers")
    lambda_: float = Field(0.8, ge=0, le=1, description="of TD(lambda)")
    exploration: float = Field(
        0.01, ge=0, le=1, description="share of imagined slots with a random action"
    )
    forget: float = Field(
        5000.0, gt=0, le=1e9, description="slots in which the weight of an arrival falls to 1 / e"
    )
    interrupted: float = Field(
        0.0625,
        ge=0,
        lt=1,
        description="share of imagined servers in which training jobs come: they show what one "
        "costs",
    )


StepSize = Annotated[float, Field(gt=0, le=1)]


class LearnerConfig(Section):
    """The learner: Double DQN (or SAC, PPO), ReLU, Adam, Huber."""

    algorithm: Literal["dqn", "sac", "ppo"] = Field(
        "dqn", description="dqn, or an actor-critic (agent: sac, agent: ppo)"
    )

    experience: Literal["replay", "imagined"] = Field(
        "replay",
        description="what it learns from: a replay of what was played, or imagined servers on "
        "which recent arrivals come again (needs observe.afterstates)",
    )
    imagined: ImaginedConfig = Field(
        default_factory=ImaginedConfig, description="how it imagines, where it does"
    )
    n_step: int = Field(1, ge=1, le=100, description="slots that a return looks ahead")
    double_q: bool = Field(
        True,
        description="the trained network chooses the action that the target network values; false "
        "= the target network chooses, too",
    )
    act_with: Literal["online", "target"] = Field(
        "online", description="network that acts: online (the trained one) or target (its average)"
    )
    gamma: float = Field(0.95, ge=0, lt=1, description="discount per slot")
    lr: StepSize | list[tuple[Annotated[int, Field(ge=0)], StepSize]] = Field(
        5e-4,
        description="Adam's step size, or its schedule [[slot, size], ...] with rising slots from "
        "0 (dqn)",
    )
    hidden: list[Annotated[int, Field(ge=1, le=100_000)]] = Field(
        [64, 64], min_length=1, max_length=100, description="units per hidden layer"
    )
    batch: int = Field(32, ge=1, le=1_000_000, description="transitions per update")
    tau: float = Field(0.005, gt=0, le=1, description="soft target step per update")
    replay: int = Field(65_536, ge=1, le=10**8, description="transitions kept")
    alpha: float = Field(0.6, ge=0, le=1, description="prioritization; 0 = uniform")
    beta: float = Field(0.5, ge=0, le=1, description="importance weights; 1 = full correction")
    learning_starts: int = Field(500, ge=1, description="transitions before any training")
    epsilon: dict[str, Any] = Field({}, description="older spelling of exploration.epsilon_greedy")
    temperature: dict[str, Any] = Field({}, description="older spelling of exploration.boltzmann")
    bootstrap: dict[str, Any] = Field({}, description="older spelling of exploration.bootstrapped")
    sigma0: float | None = Field(None, description="older spelling of exploration.noisy.sigma0")
    guide: dict[str, Any] = Field({}, description="older spelling of exploration.guided")
    observe: ObserveConfig = Field(default_factory=ObserveConfig, description="what it sees")
    corrupt: CorruptConfig = Field(default_factory=CorruptConfig, description="damage on purpose")

    @field_validator("lr")
    @classmethod
    def _schedule_begins(cls, lr: Any) -> Any:
        if isinstance(lr, list):
            slots = [slot for slot, _ in lr]
            if len(lr) < 2 or slots[0] != 0 or sorted(set(slots)) != slots:
                raise ValueError(
                    "a schedule has at least two [slot, size], the first at slot 0, slots rising"
                )
        return lr

    @model_validator(mode="after")
    def _can_imagine(self) -> Self:
        if self.experience == "replay":
            return self
        if self.algorithm != "dqn" or not self.observe.afterstates or self.observe.hide_weights:
            raise ValueError(
                "experience: imagined learns the value of afterstates, whose rewards are certain: "
                "it needs algorithm: dqn, observe.afterstates, and no hide_weights (agent: replay)"
            )
        if self.n_step > 1:
            raise ValueError(
                "experience: imagined looks ahead by imagined.lambda_: n_step must be 1"
            )
        return self

    @model_validator(mode="after")
    def _replay_can_start(self) -> Self:
        if self.learning_starts > self.replay:
            raise ValueError(
                f"learning_starts is {self.learning_starts}, but the replay holds {self.replay}"
            )
        return self


class RunnersConfig(Section):
    """Who plays the servers."""

    num: int = Field(0, ge=0, le=10_000, description="remote env runners; 0 = in the trial itself")
    servers: int = Field(1, ge=1, le=1_000_000, description="servers per runner, one agent for all")


class EvaluationConfig(Section):
    """The greedy evaluation: no exploration, no training, a stream of its own."""

    slots: int = Field(80_000, ge=1, le=10**12, description="slots, all servers together")
    servers: int = Field(8, ge=1, le=100_000, description="servers (a trace is replayed on one)")
    interval: int | None = Field(
        None,
        ge=1,
        le=10**12,
        description="evaluate while it learns, too: about every so many slots, always on the same "
        "jobs; null = at the end only",
    )
    duration: int = Field(8_000, ge=1, le=10**12, description="slots of each such evaluation")


class PretrainConfig(Section):
    """Where every learning strategy starts from: a policy trained for free before slot 0."""

    slots: int = Field(60_000, ge=1, le=10**12, description="slots, all servers together")
    set: dict[str, Any] = Field(
        default_factory=dict,
        description="config keys that differ in the pretraining: {env.load: 0.1}",
    )


Seed = Annotated[int, Field(ge=0, lt=2**31)]
Distribution = Literal["uniform", "loguniform", "randint", "choice"]


class SearchConfig(Section):
    """A hyper-parameter search on lifetime reward; its winner joins the strategies as -tuned."""

    samples: int = Field(40, ge=1, le=100_000, description="configs to try")
    seeds: list[Seed] = Field(
        [1000, 1001], min_length=1, description="each config plays all of them; none is reported"
    )
    slots: int = Field(100_000, ge=1, le=10**12, description="slots per seed, all servers together")
    searcher: Literal["optuna", "random"] = Field("optuna", description="who proposes configs")
    early_stopping: bool = Field(True, description="ASHA stops what falls behind")
    space: dict[str, dict[Distribution, list[Any]]] = Field(
        description="config keys (or args.NAME of the strategy) and where to look: "
        "{learner.lr: {loguniform: [1.0e-4, 1.0e-2]}}; randint includes both ends",
    )

    @model_validator(mode="after")
    def _space_can_be_searched(self) -> Self:
        if not self.space:
            raise ValueError("space is empty: name the keys to search")
        for key, distribution in self.space.items():
            ((kind, values),) = distribution.items() if len(distribution) == 1 else ((None, []),)
            if kind is None or not values:
                raise ValueError(f"space.{key}: give one of {', '.join(get_args(Distribution))}")
            if kind == "choice":
                continue
            if kind == "randint":
                values[:] = [_whole(v) for v in values]
            numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
            if len(values) != 2 or len(numbers) != 2 or numbers[0] >= numbers[1]:
                raise ValueError(f"space.{key}: {kind} needs [lowest, highest]")
            if kind == "loguniform" and numbers[0] <= 0:
                raise ValueError(f"space.{key}: loguniform needs a lowest value above 0")
            if kind == "randint" and not all(isinstance(v, int) for v in values):
                raise ValueError(f"space.{key}: randint needs whole numbers")
        return self


def _whole(value: Any) -> Any:
    """1e4 is a float in YAML, and a whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class TrackingConfig(Section):
    """Trackers beside TensorBoard; they get every report while a trial runs."""

    wandb: str | None = Field(
        None, description="project in Weights & Biases; needs mec-rllib[wandb]; null = not used"
    )
    mlflow: str | None = Field(
        None, description="tracking URI of MLflow; needs mec-rllib[mlflow]; null = not used"
    )
