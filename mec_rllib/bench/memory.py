"""The memory of a command with everything that it starts."""

import subprocess
from contextlib import suppress

SAMPLE_EVERY_S = 0.25


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
        total = 0
        with suppress(psutil.NoSuchProcess):
            for one in [root, *root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    total += one.memory_full_info().pss
        peak = max(peak, total)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SAMPLE_EVERY_S)
    return peak / 2**20
