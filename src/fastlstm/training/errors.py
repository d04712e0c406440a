"""How a training can fail, and how it is interrupted."""


class TrainingError(ValueError):
    """A training that cannot start or go on; the message says why and what to try."""


class RunFolderError(ValueError):
    """A run folder that cannot be written, or cannot be read back; the message says why."""


class Interrupted(KeyboardInterrupt):
    """A training that a signal ended in order; the message says where it stands, how to resume."""
