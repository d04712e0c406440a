"""The error of a run."""


class RunError(ValueError):
    """A run that cannot be made, or gone on with; the message says what was expected."""
