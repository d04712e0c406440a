"""Sequences that a small tagger learns in a moment."""

from typing import Any

import numpy as np

from fastlstm.models import LSTMConfig
from fastlstm.training import TrainingConfig

BOTH = LSTMConfig(hidden_size=8, bidirectional=True)
SMALL: dict[str, Any] = {
    "lstm": BOTH,
    "training": TrainingConfig(epochs=7, batch_size=8, learning_rate=3e-2),
    "embedding_size": 8,
    "character_size": 8,
    "word_dropout": 0.0,
    "input_dropout": 0.1,
    "dropout": 0.1,
}
NOUNS, VERBS = ("cat", "dog", "bird", "fish"), ("sees", "likes", "finds")


def sentences(count: int = 64, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences whose "that" is a determiner before a noun, and a pronoun elsewhere."""
    generator = np.random.default_rng(seed)
    words, tags = [], []
    for _ in range(count):
        one = [(str(generator.choice(["the", "that"])), "DET")]
        one += [(str(generator.choice(NOUNS)), "NOUN"), (str(generator.choice(VERBS)), "VERB")]
        if generator.random() < 0.5:
            one += [("that", "PRON")]
        else:
            one += [("that", "DET"), (str(generator.choice(NOUNS)), "NOUN")]
        words.append([word for word, _ in one])
        tags.append([tag for _, tag in one])
    return words, tags


def recordings(
    count: int = 24, seed: int = 0, steps: int = 30
) -> tuple[list[np.ndarray], list[list[str]]]:
    """Two features; a frame is "up" or "down", for some time, and tells by its noisy first one."""
    generator = np.random.default_rng(seed)
    frames, labels = [], []
    for _ in range(count):
        size = int(generator.integers(steps // 2, steps))
        level = np.repeat(generator.choice((-1, 1), size // 8 + 1), 8)[:size]
        noise = generator.normal(size=(size, 2))
        frames.append((noise + level[:, None] * (1.0, 0)) * (1, 100) + (0, 7))
        labels.append(["up" if one > 0 else "down" for one in level])
    return frames, labels


def places(count: int = 64, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Names of one to three words after "saw"; the same words after "in" are none."""
    generator = np.random.default_rng(seed)
    words, tags = [], []
    for _ in range(count):
        size, others = generator.integers(1, 4, 2).tolist()
        names = [str(generator.choice(["New", "Old", "Far"])) for _ in range(size + others)]
        words.append(["they", "saw", *names[:size], "in", *names[size:]])
        tags.append(["O", "O", "B-LOC", *["I-LOC"] * (size - 1), *["O"] * (1 + others)])
    return words, tags
