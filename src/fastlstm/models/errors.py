"""What the networks raise for a wrong description or a wrong input."""


class ModelError(ValueError):
    """A network's description or input is wrong; the message says what was given and wanted."""


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise a ``ModelError`` where ``value`` is none of the choices."""
    if value not in choices:
        raise ModelError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise a ``ModelError`` where ``value`` is no whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ModelError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_rate(name: str, value: object) -> None:
    """Raise a ``ModelError`` where ``value`` is no rate of dropout, 0 up to below 1."""
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else -1
    if not 0 <= number < 1:
        raise ModelError(f"{name} must be a rate from 0 up to below 1, got {value!r}")


def check_targets(targets: object) -> None:
    """Raise a ``ModelError`` where ``targets`` does not give each target's number of classes."""
    if not isinstance(targets, dict) or not targets:
        raise ModelError(
            f"targets must name at least one target and its number of classes, got {targets!r}"
        )
    for name, count in targets.items():
        check_count(f"targets[{name!r}]", count)
