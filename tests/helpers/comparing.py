"""What two runs that should be the same are compared by."""

import json

from mec_rllib.files import finite


def without_time(result):
    """A report or a row as text, without what the clock says, and the host."""
    row = {k: v for k, v in result.get("row", {}).items() if k not in ("wall_s", "node")}
    return json.dumps(finite(result | {"row": row}), sort_keys=True)
