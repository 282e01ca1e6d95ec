"""The memory of a command with everything that it starts."""

import subprocess
import time
from contextlib import suppress

SAMPLE_EVERY_S = 0.25
# A look reads the page tables of every process, and holds them up: 19 % of a core at four a second.
LOOKING_SHARE = 0.02  # of the time, at most


def peak_memory_mb(process: subprocess.Popen) -> float | None:
    """Waits until the process ends; the largest sum over its descendants, None without psutil.

    Shared pages are counted once (proportional set size).
    """
    try:
        import psutil
    except ImportError:
        process.wait()
        return None
    peak = 0
    root = psutil.Process(process.pid)
    while process.poll() is None:
        total, started = 0, time.perf_counter()
        with suppress(psutil.NoSuchProcess):
            for one in [root, *root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    total += one.memory_full_info().pss
        peak = max(peak, total)
        looked = time.perf_counter() - started
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(SAMPLE_EVERY_S, looked / LOOKING_SHARE))
    return peak / 2**20
