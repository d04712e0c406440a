"""Tag frames: whether somebody walks or runs, from noisy sensors, frame by frame.

    python examples/tag_frames.py

The recordings are of unequal lengths, and whole ones are held out.
"""

import numpy as np

from fastlstm import LSTMConfig, SequenceTagger, TrainingConfig


def recording(seed: int) -> tuple[np.ndarray, list[str]]:
    """Two sensors (T, 2) that swing fast or slowly, and which of both at each frame."""
    generator = np.random.default_rng(seed)
    pieces, labels = [], []
    for number in range(int(generator.integers(3, 6))):
        size = int(generator.integers(30, 60))
        runs = (number + seed) % 2 == 0
        phase = generator.uniform(0, 6) + np.arange(size) * (1.2 if runs else 0.6)
        pieces.append(np.stack((np.sin(phase), np.cos(phase)), axis=1))
        labels += ["run" if runs else "walk"] * size
    values = np.concatenate(pieces)
    return values + 0.3 * generator.normal(size=values.shape), labels


frames, labels = zip(*map(recording, range(30)), strict=True)
tagger = SequenceTagger(
    LSTMConfig(hidden_size=16, bidirectional=True),
    TrainingConfig(epochs=15, batch_size=8, learning_rate=1e-2),
    chunk_steps=64,
    dropout=0.2,
    input_dropout=0.0,
)
tagger.fit(frames[:24], labels[:24])

figures = tagger.evaluate(frames[24:], labels[24:])
print(f"frames that are right: {figures['accuracy']:.1%}, macro F1 {figures['macro_f1']:.1%}")
print(f"by the most frequent label: {figures['baseline_accuracy']:.1%}")

(said,) = tagger.predict(frames[24:25])
changes = [step for step in range(1, len(said)) if said[step] != said[step - 1]]
print(f"a recording of {len(said)} frames begins with {said[0]!r} and changes at {changes}")
