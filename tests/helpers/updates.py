"""The same updates by compiled code and by autograd."""

import copy

from ray.rllib.core import DEFAULT_MODULE_ID


def by_autograd_and_compiled(learner, replay, updates, batch):
    """[(metrics, weights)] of the two, both from where the learner and the replay are now."""
    # With alpha 0 rounded errors cannot change what is drawn.
    replay = copy.deepcopy(replay)
    replay.priorities = replay.priorities._replace(alpha=0.0)
    start, compiled, found = copy.deepcopy(learner.get_state()), learner._compiled_updates, []
    for used in (None, compiled):
        learner.set_state(copy.deepcopy(start))
        learner._compiled_updates = used
        metrics = learner.learn(copy.deepcopy(replay), updates, batch)
        learner._compiled_updates = compiled
        module = learner.module[DEFAULT_MODULE_ID].unwrapped()
        found.append((metrics, copy.deepcopy(module.state_dict())))
    return found
