"""What the command line turns into one line and exit code 2."""

LONGEST = 400  # characters of a message: what was given may be of any length


class ConfigError(ValueError):
    """Bad input; the message is one line for the user, whatever was put into it."""

    def __init__(self, message: object):
        line = " ".join(str(message).split())
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}...")


class LostError(RuntimeError):
    """A process or a node that a trial needs is gone: it may go on elsewhere."""
