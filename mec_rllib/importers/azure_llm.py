"""Azure's LLM inference traces of 2023 and 2024: a time, tokens of context, tokens generated."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mec_rllib.importers.base import Found, Jobs
from mec_rllib.importers.lines import concatenated, seconds, table_of
from mec_rllib.importers.llm import LLMRequests, is_no_count

TIME, CONTEXT, GENERATED = "TIMESTAMP", "ContextTokens", "GeneratedTokens"


class AzureLLM(LLMRequests):
    """Azure LLM inference trace: CSV with TIMESTAMP, ContextTokens, GeneratedTokens."""

    def jobs(self, files: Sequence[Path]) -> Jobs:
        """See `Importer.jobs`; several files share one clock."""
        logs = [table_of(file, (CONTEXT, GENERATED), (TIME,)) for file in files]
        for log in logs:
            for name in (CONTEXT, GENERATED):
                wrong = is_no_count(log[name])
                log.refuse(wrong, f"{name} must be a whole number, 0 or more, not {{{name}}}", name)
        times = np.concatenate([seconds(log, TIME) for log in logs])
        context, generated = (concatenated(logs, name) for name in (CONTEXT, GENERATED))
        return self.served(times, context, generated, Found(len(times)), context)
