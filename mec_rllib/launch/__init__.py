"""Many trials, on Ray Tune: on this machine or on a cluster."""

import os


def listen_here_only() -> None:
    """Makes a Ray that we start listen on this machine only; to be called before Ray is imported.

    Whoever reaches a Ray can run code in it. Ray reads this switch (made for desktops) when it is
    imported, and hands it to its processes.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
