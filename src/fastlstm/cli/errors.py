"""The error of a command."""


class CommandError(ValueError):
    """Options of a command that do not go together; the message says what was expected."""
