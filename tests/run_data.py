"""Small data sets for the tests of runs and of the command line, and how both are called."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

STEPS = 6
# Settings with which the waves are learnt in a second.
QUICK = ("lstm.hidden_size=7", "training.epochs=3", "training.learning_rate=0.02")
QUICK_OPTIONS = [part for setting in QUICK for part in ("--set", setting)]


def waves(count: int = 60, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Rising and falling lines with noise (N, T), and which they are."""
    generator = np.random.default_rng(seed)
    rising = generator.random(count) < 0.5
    lines = np.linspace(-1, 1, STEPS)[None] * np.where(rising, 1, -1)[:, None]
    values = lines + 0.1 * generator.normal(size=(count, STEPS))
    return values.round(4), ["up" if up else "down" for up in rising]


def wave_rows(count: int = 60, seed: int = 0) -> list[dict[str, object]]:
    """A row for each wave: its name, its values, its label."""
    values, labels = waves(count, seed)
    return [
        {"name": f"w{i}", **{f"t{t}": float(v) for t, v in enumerate(row)}, "label": label}
        for i, (row, label) in enumerate(zip(values, labels, strict=True))
    ]


def step_rows(count: int = 40, seed: int = 0) -> list[dict[str, object]]:
    """A row for each step of waves of unequal lengths, in a random order, two features each."""
    values, labels = waves(count, seed)
    generator = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for i, (wave, label) in enumerate(zip(values.tolist(), labels, strict=True)):
        for t, value in enumerate(wave[: int(generator.integers(4, STEPS + 1))]):
            rows.append({"id": f"w{i}", "t": t, "x": value, "y": value * 2, "label": label})
    return [rows[place] for place in generator.permutation(len(rows))]


TEXTS = {
    "good": ["a fine film", "what a joy , truly fine", "great fun", "a great joy"],
    "bad": ["a dull film", "what a bore , truly dull", "no fun", "a sad bore"],
}


def text_rows(copies: int = 8) -> list[dict[str, object]]:
    """A row for each text; each text several times."""
    return [
        {"text": f"{text} {number}", "label": label}
        for number in range(copies)
        for label, texts in TEXTS.items()
        for text in texts
    ]


def write_csv(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json_lines(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


WRITERS = {".csv": write_csv, ".jsonl": write_json_lines, ".parquet": write_parquet}


def write_images(folder: Path, count: int = 12, seed: int = 0) -> Path:
    """A folder of 9x7 images for each of two classes: bright on the left, or on the right."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    for label in ("left", "right"):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 90, (9, 7), dtype=np.uint8)
            half = np.s_[:, :3] if label == "left" else np.s_[:, 4:]
            pixels[half] += 150
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder
