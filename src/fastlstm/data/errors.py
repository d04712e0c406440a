"""The error of everything that reads data."""


class DataError(ValueError):
    """Data that is missing, damaged, or not what it claims to be; the message says which."""
