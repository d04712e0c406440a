"""Name recordings of unequal lengths: fit, measure, look inside, save.

Run it with ``python examples/classify_sequences.py``; it makes its own data, a sensor on a
wrist that rests, walks or waves, and takes a few seconds.
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from fastlstm import LSTMConfig, SequenceClassifier, TrainingConfig

# A recording is an array (T, 3): acceleration along three axes, 40 to 80 steps of it.
SPEEDS = {"rests": 0.0, "walks": 0.35, "waves": 0.8}
generator = np.random.default_rng(0)
recordings, labels = [], []
for _ in range(240):
    label = str(generator.choice(list(SPEEDS)))
    steps = np.arange(generator.integers(40, 81))
    phases = generator.uniform(0, 2 * np.pi, size=3)
    swing = np.sin(SPEEDS[label] * generator.normal(1, 0.05) * steps[:, None] + phases)
    recordings.append(swing + generator.normal(scale=0.4, size=swing.shape))
    labels.append(label)
X_train, X_test, y_train, y_test = train_test_split(recordings, labels, random_state=0)

classifier = SequenceClassifier(
    lstm=LSTMConfig(hidden_size=16, bidirectional=True),
    training=TrainingConfig(epochs=12, learning_rate=0.02),
    pooling="mean",
)
classifier.fit(X_train, y_train)
figures = classifier.evaluate(X_test, y_test)
print(
    f"{len(X_test)} recordings it has not seen: {figures['accuracy']:.1%} right; always saying the "
    f"most frequent class: {figures['baseline_accuracy']:.1%}"
)

probabilities = classifier.predict_proba(X_test[:3])
for recording, row in zip(X_test, probabilities, strict=False):
    shares = ", ".join(f"{p:.0%} {name}" for p, name in zip(row, classifier.classes_, strict=True))
    print(f"   {len(recording)} steps: {shares}")

# The network is a plain module, and its LSTM the one of this library.
print(f"\n{classifier.network_.classifier.lstm}")

with tempfile.TemporaryDirectory() as folder:
    classifier.save(Path(folder) / "wrist")
    again = SequenceClassifier.load(Path(folder) / "wrist")
    same = (again.predict(X_test) == classifier.predict(X_test)).all()
    print(f"\nread back from {sorted(path.name for path in (Path(folder) / 'wrist').iterdir())}")
    print(f"it says the same: {same}")
