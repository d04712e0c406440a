"""Taggers that several processes fit together, in a folder that is given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastlstm.models import LSTMConfig
from fastlstm.tasks import SequenceTagger
from fastlstm.training import TrainingConfig
from tagger_cases import places, recordings, sentences
from two_processes import write_fitted

# 31 or so examples in batches of 10, so that at the end one process has one less. Without dropout,
# as each process draws its own masks.
TRAINING = TrainingConfig(epochs=3, batch_size=10, learning_rate=5e-3, device="cpu", threads=1)
COMMON: dict[str, Any] = {
    "lstm": LSTMConfig(hidden_size=6, bidirectional=True),
    "training": TRAINING,
    "embedding_size": 5,
    "character_size": 4,
    "word_dropout": 0.0,
    "input_dropout": 0.0,
    "dropout": 0.0,
}
ONWARD = {
    "lstm": LSTMConfig(hidden_size=6),
    "training": TrainingConfig(
        epochs=3, batch_size=10, learning_rate=5e-3, device="cpu", threads=1, truncate_steps=9
    ),
}


def both(count: int, seed: int) -> tuple[Any, Any]:
    """Two targets of one sentence."""
    words, tags = sentences(count, seed)
    return words, {"upos": tags, "first": [[word[0] for word in row] for row in words]}


TAGGERS: dict[str, tuple[dict[str, Any], Callable[[int, int], tuple[Any, Any]]]] = {
    "words": ({**COMMON, "target_weights": {"first": 0.5}}, both),
    "chain": ({**COMMON, "crf": True}, places),
    "frames": ({**COMMON, "class_weight": "balanced"}, recordings),
    "stretches": ({**COMMON, **ONWARD}, recordings),
}


def fit(name: str, output: Path | None) -> SequenceTagger:
    parameters, examples = TAGGERS[name]
    return SequenceTagger(**parameters).fit(*examples(35, 1), output=output)


def run_all(folder: Path, rank: int) -> None:
    """Fit each, and write what this process ends with."""
    for name, (_, examples) in TAGGERS.items():
        tagger = fit(name, folder / name)
        write_fitted(tagger, tagger.evaluate(*examples(21, 2)), folder, name, rank)
