"""What the estimators refuse."""


class TaskError(ValueError):
    """An argument that an estimator cannot serve; the message says what was expected."""
