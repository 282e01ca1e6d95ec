"""What two runs that should be the same are compared by."""

import json

from mec_rllib.files import finite


def without_time(result):
    """A report or a row as text, without what the clock says."""
    row = {k: v for k, v in result.get("row", {}).items() if k != "wall_s"}
    return json.dumps(finite(result | {"row": row}), sort_keys=True)
