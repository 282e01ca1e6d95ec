"""Reinforcement learning that pays for its own training, on Ray RLlib.

Importing this package registers the environment `MecScheduling-v0` with Gymnasium and, as soon as
Ray Tune's registry is imported, with RLlib. Nothing else happens, and Ray is not imported.
`Study` and `Results` run experiments from Python; they are loaded when they are asked for.
"""

from typing import TYPE_CHECKING, Any

from mec_rllib.envs.registration import ENV_ID, register_everywhere

if TYPE_CHECKING:
    from mec_rllib.api import Policy, Results, Study, Suite, SuiteResults

__version__ = "0.1.0"
__all__ = ["ENV_ID", "Policy", "Results", "Study", "Suite", "SuiteResults"]

register_everywhere()


def __getattr__(name: str) -> Any:
    if name in ("Policy", "Results", "Study", "Suite", "SuiteResults"):
        from mec_rllib import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
