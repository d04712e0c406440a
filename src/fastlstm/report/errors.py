"""The error of everything that makes a report."""


class ReportError(ValueError):
    """Results that cannot be shown as they were given; the message says what was expected."""
