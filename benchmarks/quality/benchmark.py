"""What a benchmark of quality is: data in parts, an estimator with its defaults, and marks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastlstm.tasks.saving import parameters_as_json

Scores = Mapping[str, Mapping[str, float]]
"""The scores of one seed: of each part, by name."""


@dataclass(frozen=True)
class Mark:
    """A bound on a figure, and what others have published."""

    measure: str
    value: Callable[[Scores], float]  # of one seed; the median over the seeds counts
    limit: float
    at_least: bool = True  # else less than the limit
    digits: int = 3
    per_cent: bool = False
    published: str = ""
    minutes: float | None = None  # that the training of a seed may take


@dataclass(frozen=True)
class Benchmark:
    """A data set, measured with an estimator's defaults.

    Args:
        title: what the data are.
        parts: what is trained for itself: folds, horizons; the name of the only part is empty.
        marks: what is to be reached.
        estimator: a new one, of a part and a seed.
        train: fits it to the training data of a part, and gives what then measures the test data.
    """

    title: str
    parts: tuple[str, ...]
    marks: tuple[Mark, ...]
    estimator: Callable[[str, int], Any]
    train: Callable[[Any, str], Callable[[], dict[str, float]]]


def mean(name: str) -> Callable[[Scores], float]:
    """A score's mean over the parts."""
    return lambda scores: sum(found[name] for found in scores.values()) / len(scores)


def of(part: str, name: str) -> Callable[[Scores], float]:
    """A score of one part."""
    return lambda scores: scores[part][name]


def difference(
    one: Callable[[Scores], float], other: Callable[[Scores], float]
) -> Callable[[Scores], float]:
    """One figure less another."""
    return lambda scores: one(scores) - other(scores)


def seeded(estimator: Any, seed: int) -> Any:
    """The estimator with a seed, and nothing else changed."""
    training = (
        type(estimator).default_training if estimator.training is None else estimator.training
    )
    return estimator.set_params(training=replace(training, seed=seed))


def estimator_settings(estimator: Any) -> dict[str, Any]:
    """All parameters of an estimator, its defaults among them, as JSON values."""
    parameters = estimator.get_params(deep=False)
    for name in ("lstm", "training"):
        if parameters[name] is None:
            parameters[name] = getattr(type(estimator), f"default_{name}", None)
    return {"estimator": type(estimator).__name__, **parameters_as_json(parameters)}
