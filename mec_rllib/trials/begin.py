"""The first thing that an experiment writes: its folder, with all that it was begun with."""

from mec_rllib.config.study import Study
from mec_rllib.results.folder import Folder
from mec_rllib.trials.traces import tell_traces


def begin(study: Study, folder: Folder) -> None:
    """Writes the config, the resolved strategies, and what was done to the traces.

    Raises:
        ConfigError: a trace cannot be read, or its jobs cannot be played; nothing is written then.
    """
    traces = tell_traces(study, lambda line: None)
    folder.write(study.experiment.model_dump(mode="json"), study.to_json(), traces)
