"""An experiment as it is written down: strategies x seeds on one environment, typed and checked."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from mec_rllib.config.agents import fill
from mec_rllib.config.claims import Claims, CompareConfig
from mec_rllib.config.explorations import Exploration, exploration_class, name_and_keys
from mec_rllib.config.sections import (
    EvaluationConfig,
    GateConfig,
    LearnerConfig,
    PretrainConfig,
    RunnersConfig,
    SearchConfig,
    Seed,
    TrackingConfig,
)
from mec_rllib.envs.config import EnvConfig
from mec_rllib.section import Name, Section

PAPER = "paper"  # the agent that learns where nobody names one


class Experiment(Section):
    """Everything an experiment is: the root of the config file."""

    name: Name = Field("experiment", description="what reports say")
    strategies: list[str | dict[str, Any]] = Field(
        ["ats"],
        min_length=1,
        description="gates and schedulers by name, or {gate: or scheduler: NAME, label, "
        "gate keys, args (of your own class), set: {config.key: value}}",
    )
    seeds: list[Seed] = Field([0], min_length=1, description="each strategy runs once per seed")
    slots: int = Field(200_000, ge=1, le=10**12, description="slots, all servers together")
    env: EnvConfig = Field(default_factory=EnvConfig, description="the servers and their jobs")
    gate: GateConfig = Field(default_factory=GateConfig, description="when to train")
    agent: str = Field(
        PAPER,
        min_length=1,
        description="who learns: paper, deployable, sac, ppo (mec_rllib/config/agents), or a YAML "
        "file of your own; gives the keys of exploration, learner and gate that are not given",
    )
    exploration: Exploration = Field(
        "epsilon_greedy",
        description="how it explores: a name, a name with its keys ({guided: {slots: 5000}}), or "
        "an import path; sampled is for sac and ppo",
    )
    learner: LearnerConfig = Field(default_factory=LearnerConfig, description="how it learns")
    pretrain: PretrainConfig | None = Field(
        None,
        description="train a policy to start from, for free and on other jobs; null = untrained",
    )
    search: SearchConfig | None = Field(
        None, description="search the first strategy's hyper-parameters before the experiment"
    )
    claims: Claims = Field(default_factory=list, description="what the experiment is to decide")
    compare: CompareConfig | None = Field(
        None, description="compare every strategy with one of them; null = no comparison"
    )
    runners: RunnersConfig = Field(default_factory=RunnersConfig, description="who plays")
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="greedy evaluation at the end"
    )
    tracking: TrackingConfig = Field(
        default_factory=TrackingConfig, description="who else is told while it runs"
    )

    @model_validator(mode="before")
    @classmethod
    def _agent_fills_in(cls, values: Any) -> Any:
        agent = values.get("agent", PAPER) if isinstance(values, Mapping) else None
        return fill(values, agent) if isinstance(agent, str) and agent else values

    @model_validator(mode="after")
    def _actor_critics_have_what_they_need(self) -> Self:
        algorithm, learner = self.learner.algorithm, self.learner
        exploration, _ = name_and_keys(self.exploration)
        if (algorithm == "dqn") == (exploration == "sampled"):
            raise ValueError(
                f"exploration is {exploration}, which does not go with learner.algorithm "
                f"{algorithm}: sac and ppo are sampled, dqn is not"
            )
        sees = learner.observe.afterstates and not learner.observe.hide_weights
        if exploration_class(exploration).needs_afterstates and not sees:
            raise ValueError(
                f"exploration {exploration} plays servers of its own: it needs "
                "learner.observe.afterstates, and no hide_weights (agent: deployable)"
            )
        if learner.observe.afterstates and exploration_class(exploration).network is not None:
            raise ValueError(
                f"exploration {exploration} has a network of its own: no afterstates (agent: paper)"
            )
        if algorithm == "dqn":
            return self
        if self.runners.num or learner.observe.afterstates or learner.n_step > 1:
            raise ValueError(
                f"learner.algorithm {algorithm} needs runners.num 0, learner.n_step 1, and no "
                "afterstates"
            )
        if algorithm == "ppo" and len(self.env.training_job) > 1:
            raise ValueError(
                "learner.algorithm ppo uses a rollout up at once: one kind in env.training_job"
            )
        if algorithm == "ppo" and self.env.gym is not None:
            raise ValueError("learner.algorithm ppo knows continuing tasks only: no env.gym")
        return self

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice")
        return seeds

    @model_validator(mode="after")
    def _search_is_fair(self) -> Self:
        if self.search is None:
            return self
        if shared := set(self.search.seeds) & set(self.seeds):
            raise ValueError(f"search.seeds and seeds share {min(shared)}: report on fresh seeds")
        if self.pretrain is not None:
            raise ValueError("search and pretrain cannot be combined")
        return self
