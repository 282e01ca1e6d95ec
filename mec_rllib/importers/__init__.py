"""Logs as people have them, turned into traces: one file per format, without Ray and torch.

An importer is a section of settings: every assumption is a field with a default. `jobs` reads files
and returns the jobs, with counts of all that was left out or changed.
"""

from mec_rllib.importers.alibaba_pods import AlibabaPods
from mec_rllib.importers.azure_llm import AzureLLM
from mec_rllib.importers.base import Importer
from mec_rllib.importers.bupt_edge import BuptEdge
from mec_rllib.importers.mooncake import Mooncake
from mec_rllib.importers.swf import SWF
from mec_rllib.importers.table import Table

IMPORTERS: dict[str, type[Importer]] = {
    "swf": SWF,
    "azure-llm": AzureLLM,
    "mooncake": Mooncake,
    "alibaba-pods": AlibabaPods,
    "bupt-edge": BuptEdge,
    "csv": Table,
}
