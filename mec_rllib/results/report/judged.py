"""What `mec-rllib shadow` prints: who would have earned what, and the rule to take."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_judged(rows: Sequence[dict[str, Any]], rule: str, console: Console) -> None:
    """The rows as a table, best first, and the rule as it is."""
    table = Table("strategy", "R on the second half", "95 % interval over blocks")
    for row in rows:
        low, high = row["ci95"]
        table.add_row(row["strategy"], f"{row['reward']:.3f}", f"[{low:.3f}, {high:.3f}]")
    console.print(table)
    console.print("the best rule, to be pasted into strategies:", highlight=False)
    console.print(rule, highlight=False, soft_wrap=True, end="")
