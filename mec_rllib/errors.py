"""What the command line turns into one line and exit code 2."""


class ConfigError(ValueError):
    """Bad input; the message is one line for the user."""
