"""What a person sees of a server: a line of text, or a picture of its buffer and its units."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mec_rllib.sim.jobs import Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import PAUSE, WAITING

Picture = NDArray[np.uint8]

SLOTS_AHEAD = 30  # at most, in a picture
ROWS = 12  # of the buffer, at most
DPI, WIDTH, HEIGHT, PER_KIND = 100, 9.6, 3.0, 1.4  # inches
TRAINING_COLOUR, USER_COLOUR = "black", "tab:blue"
NAME_LETTERS = 14


def line_of(batch: ServerBatch, index: int) -> str:
    """Slot, units in use, the training job, waiting jobs as class:requirement x execution."""
    s, names = batch.servers, batch.workload.class_names
    jobs = [
        f"{names[s.job_class[index, k]]}:{_units(s.requirement[index, k])}x{s.execution[index, k]}"
        for k in range(s.waiting[index])
    ]
    used = _units(batch.units_in_use[index])
    training = {0: "", WAITING: " training waits"}.get(int(s.training[index]), " training runs")
    return f"slot {batch.slot}: {used} in use,{training} [{', '.join(jobs)}]"


def units_ahead(batch: ServerBatch, index: int, slots: int) -> tuple[Ints, Ints]:
    """Units held in the slot to be decided and after it, if no further job starts.

    Args:
        batch: the servers.
        index: of one of them.
        slots: H, how far to look.

    Returns:
        (H, D) units of user jobs that run, and (H, D) units of the training job.
    """
    s, rules, capacity = batch.servers, batch.rules, batch.rules.capacity
    horizon = s.releases.shape[1]
    order = (s.clock[index] + np.arange(horizon)) % horizon
    held = s.used[index] - np.cumsum(s.releases[index, order], axis=0)
    users = np.zeros((slots + horizon + 1, len(capacity)), np.int64)
    users[: horizon + 1] = np.concatenate([s.used[index][None], held])
    training = np.zeros_like(users)
    left, kind = int(s.training[index]), s.training_kind[index]
    if left:
        demand, begin = rules.demand[kind], 0
        if left == WAITING:
            left = int(rules.training_slots[kind])
            if rules.mode != PAUSE:
                begin = int((users + demand <= capacity).all(axis=1).argmax())
        training[begin : begin + left] = demand
        if rules.mode == PAUSE:  # running jobs freeze meanwhile
            users = np.concatenate([np.zeros((left, len(capacity)), np.int64), users])
    return users[:slots], training[:slots]


def picture_of(batch: ServerBatch, index: int) -> Picture:
    """(H, W, 3) the units held over the next slots, and the waiting jobs.

    Blue is held by user jobs, black by a training job; hatched: it waits, and runs there at the
    earliest. A waiting job's bar is its execution time in the colour of its class, pale if it may
    not start now; the diamond is the last slot in which it can start, a triangle at the right edge
    says that this is later. A job's line begins with the action that starts it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes half a second to load
    from matplotlib.figure import Figure

    kinds = len(batch.rules.capacity)
    height = HEIGHT + PER_KIND * kinds
    figure = Figure((WIDTH, height), DPI)
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(_title(batch, index), fontsize=11, y=1 - 0.12 / height, parse_math=False)
    slots = min(batch.workload.max_execution + 1, SLOTS_AHEAD)
    # Places are fixed: nothing jumps from one picture of a film to the next.
    edges = {"bottom": 0.55 / height, "top": 1 - 0.65 / height}
    left = figure.add_gridspec(kinds, 1, left=0.06, right=0.41, hspace=0.12, **edges)
    right = figure.add_gridspec(1, 1, left=0.65, right=0.98, **edges)
    _draw_units([figure.add_subplot(left[d]) for d in range(kinds)], batch, index, slots)
    _draw_buffer(figure.add_subplot(right[0]), batch, index, slots)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


RENDERERS: dict[str, Callable[[ServerBatch, int], Any]] = {
    "ansi": line_of,
    "rgb_array": picture_of,
}


def _title(batch: ServerBatch, index: int) -> str:
    s = batch.servers
    left = int(s.training[index])
    training = {0: "no training job", WAITING: "a training job waits"}.get(
        left, f"a training job runs, {left} slots left"
    )
    used, capacity = _units(batch.units_in_use[index]), _units(batch.rules.capacity)
    return (
        f"slot {batch.slot}: {used} of {capacity} units in use, {s.waiting[index]} of "
        f"{batch.buffer} jobs in the buffer, {training}"
    )


def _draw_units(panels: Any, batch: ServerBatch, index: int, slots: int) -> None:
    users, training = units_ahead(batch, index, slots)
    waits = batch.servers.training[index] == WAITING
    edges = np.arange(slots + 1)
    for d, panel in enumerate(panels):
        panel.stairs(users[:, d], edges, fill=True, color=USER_COLOUR)
        panel.stairs(
            users[:, d] + training[:, d],
            edges,
            baseline=users[:, d],
            fill=not waits,
            hatch="///" if waits else None,
            color=TRAINING_COLOUR,
            linewidth=1.0 if waits else 0.0,
        )
        panel.set(xlim=(0, slots), ylim=(0, batch.rules.capacity[d]))
        panel.set_ylabel("units" if len(panels) == 1 else f"units, kind {d + 1}")
    panels[0].set_title("units held, if no further job starts", fontsize=10)
    for panel in panels[:-1]:
        panel.tick_params(labelbottom=False)
    panels[-1].set_xlabel("slots from now (users blue, training black)")


def _draw_buffer(panel: Any, batch: ServerBatch, index: int, slots: int) -> None:
    s, names = batch.servers, batch.workload.class_names
    rows = min(batch.buffer, ROWS)
    shown = min(int(s.waiting[index]), rows)
    labels = [""] * rows
    for k in range(shown):
        job_class = int(s.job_class[index, k])
        is_allowed = bool(batch.mask[index, k + 1])
        execution, last_start = s.execution[index, k], s.slack[index, k] - s.wait[index, k]
        alpha = 1.0 if is_allowed else 0.3
        panel.barh(k, execution, 0.8, color=f"C{job_class % 10}", alpha=alpha)
        place, marker = (last_start + 0.5, "D") if last_start < slots else (slots - 0.4, ">")
        panel.plot(place, k, marker, color="black", ms=5)
        name = names[job_class][:NAME_LETTERS]
        labels[k] = f"{k + 1}  {name}, {_units(s.requirement[index, k])} units"
    panel.set(xlim=(0, slots), ylim=(rows - 0.5, -0.5))
    panel.set_yticks(range(rows), labels, parse_math=False)
    more = int(s.waiting[index]) - shown
    panel.set_title(f"waiting jobs{f' ({more} more)' if more else ''}", fontsize=10)
    panel.set_xlabel("slots (bar: execution, diamond: last start)")


def _units(vector: Ints) -> str:
    return "/".join(map(str, vector))
