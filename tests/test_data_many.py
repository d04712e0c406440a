"""A million examples: what is kept as one array, and that it is what the many would be."""

import ctypes
import gc
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch

from fastlstm.data import (
    DataError,
    Sequences,
    TextColumn,
    combined_ids,
    read_table,
    release_memory,
    split_stratified,
)
from fastlstm.runs import find_task
from fastlstm.runs.labelled import hold_out

GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.normal(3, 2, size=(20, 5, 3))


def test_an_array_of_sequences_is_as_a_list_of_them():
    whole, one_by_one = Sequences(VALUES), Sequences(list(VALUES))
    assert whole.lengths.tolist() == one_by_one.lengths.tolist() == [5] * 20
    indices = [7, 3, 3, 19]
    for found, expected in zip(whole.batch(indices), one_by_one.batch(indices), strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    np.testing.assert_array_equal(whole[4], one_by_one[4])


@pytest.mark.parametrize("form", [np.asarray, list])
def test_moments(form, monkeypatch):
    monkeypatch.setattr("fastlstm.data.sequences._AT_ONCE", 3)
    chosen = np.array([0, 2, 3, 5, 8, 13, 1])
    mean, spread = Sequences(form(VALUES)).moments(chosen)
    steps = VALUES.astype(np.float32)[chosen].reshape(-1, 3)
    np.testing.assert_allclose(mean, steps.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(spread, steps.std(axis=0, dtype=np.float64), rtol=1e-6)
    assert mean.dtype == spread.dtype == np.float32


def test_moments_of_values_far_from_zero():
    values = 1e4 + VALUES.astype(np.float32)
    _, spread = Sequences(values).moments(np.arange(20))
    np.testing.assert_allclose(spread, values.reshape(-1, 3).std(0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize(("place", "message"), [((11, 2, 1), "step 2, feature 1")])
def test_an_array_with_a_missing_value(place, message):
    values = VALUES.copy()
    values[place] = np.nan
    expected = f"sequence 11 holds nan at {message}: expected numbers only"
    with pytest.raises(DataError, match=f"^{expected}$"):
        Sequences(values)


def test_an_array_without_steps():
    expected = "sequence 0 has shape (0, 3): expected (T, F) or (T,), none of them 0"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        Sequences(np.zeros((4, 0, 3)))


def test_a_split_by_numbers_is_the_split_by_labels():
    labels = [str(label) for label in GENERATOR.integers(0, 4, 200)]
    numbers = np.unique(labels, return_inverse=True)[1]
    for found, expected in zip(
        split_stratified(numbers, 0.3, seed=5),
        split_stratified(labels, 0.3, seed=5),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_combinations_of_classes():
    one, two = np.array([0, 1, 0, 1, 0]), np.array([2, 2, 9, 2, 2])
    assert combined_ids([one]) is one
    found = combined_ids([one, two]).tolist()
    assert found[0] == found[4] != found[1] == found[3] != found[2] != found[0]


TEXTS = ["a", "bé", "", "c d"] * 5


@pytest.mark.parametrize("chunks", [[TEXTS], [TEXTS[:7], TEXTS[7:]]])
def test_a_column_of_texts(monkeypatch, chunks):
    monkeypatch.setattr("fastlstm.data.text_columns._AT_ONCE", 3)
    given = pa.chunked_array(chunks).chunks
    column = TextColumn(given, "x.csv")
    assert given == []
    assert list(column) == TEXTS
    assert (len(column), column[1], column[2:5]) == (20, "bé", TEXTS[2:5])
    some = column.select(np.array([9, 1, 3])).select(np.array([2, 0]))
    assert list(some) == [TEXTS[3], TEXTS[9]]
    with pytest.raises(IndexError):
        some[2]


def test_a_column_with_a_text_missing():
    with pytest.raises(DataError, match=r"^x\.csv: row 2 has no text$"):
        TextColumn(pa.chunked_array([["a", None]]).chunks, "x.csv")
    with pytest.raises(DataError, match=r"^x\.csv: row 4 has no text$"):
        TextColumn(pa.chunked_array([["a", "b"], ["c", None]]).chunks, "x.csv")
    with pytest.raises(DataError, match=r"^x\.csv has no rows$"):
        TextColumn(pa.chunked_array([[]], type=pa.string()).chunks, "x.csv")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_in_half_the_memory(tmp_path, suffix):
    table = pa.table({"x": [1.5, 2.25], "y": [0.1, 0.2], "n": [1, 2], "name": ["a", "b"]})
    path = tmp_path / f"x{suffix}"
    (pa.csv.write_csv if suffix == ".csv" else pa.parquet.write_table)(table, path)
    found = read_table(path, numbers=("y",), single=True)
    kinds = {field.name: field.type for field in found.schema}
    assert (kinds["x"], kinds["y"], kinds["name"]) == (pa.float32(), pa.float64(), pa.string())
    assert pa.types.is_integer(kinds["n"])
    assert found.column("x").to_pylist() == [1.5, 2.25]


CHILD = """
import sys
from fastlstm.runs import train, find_task
from fastlstm.config import with_overrides
from fastlstm.training import BatchesDone, Started

task = find_task(sys.argv[1])


class Stop(Exception):
    pass


def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def stop(event):
    if isinstance(event, BatchesDone if task.name == "forecast" else Started):
        raise Stop


def start(file):
    data = with_overrides(task.data(file), sys.argv[4:])
    try:
        train(task, data, file + "-run", None, stop)
    except Stop:
        pass
    return peak()


# What Python and its libraries hold is none of the data's: it is there after a few rows too.
small = start(sys.argv[2])
print(start(sys.argv[3]) - small)
"""


def growth(task: str, few: Path, many: Path, *options: str) -> int:
    """The memory that reading a file takes up to the first batch, in bytes, at its peak."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, task, str(few), str(many), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return 1024 * int(done.stdout)


def write_rows(path: Path, rows: int) -> Path:
    generator = np.random.default_rng(0)
    columns = {f"x{i}": generator.normal(size=rows).round(4) for i in range(16)}
    columns["label"] = generator.choice(["up", "down"], rows)
    pa.csv.write_csv(pa.table(columns), path)
    return path


def write_steps(path: Path, rows: int) -> Path:
    generator = np.random.default_rng(0)
    sequences = np.arange(rows) // 50
    columns = {"id": [f"r{number}" for number in sequences], "t": np.arange(rows) % 50}
    columns |= {f"x{i}": generator.normal(size=rows).round(4) for i in range(6)}
    columns["label"] = np.where(sequences % 3, "up", "down")
    pa.csv.write_csv(pa.table(columns), path)
    return path


def write_series(path: Path, rows: int) -> Path:
    """A row for each hour of series of 1,000; of fewer rows, one series."""
    steps = np.arange(rows)
    columns = {
        "unique_id": [f"s{number}" for number in steps // 1000],
        "ds": np.datetime64("2020-01-01", "s") + (steps % 1000).astype("timedelta64[h]"),
        "y": np.random.default_rng(0).normal(size=rows).cumsum().round(3),
    }
    pa.csv.write_csv(pa.table(columns), path)
    return path


def write_texts(path: Path, rows: int) -> Path:
    generator = np.random.default_rng(0)
    chances = 1 / np.arange(1, 20_001)
    ends = np.cumsum(generator.integers(8, 31, rows)).tolist()
    drawn = generator.choice(20_000, ends[-1], p=chances / chances.sum())
    words = np.array([f"w{number}" for number in range(20_000)])[drawn].tolist()
    texts = [" ".join(words[first:end]) for first, end in zip([0, *ends], ends, strict=False)]
    labels = generator.choice(["bad", "fair", "good"], rows)
    pa.csv.write_csv(pa.table({"text": texts, "label": labels}), path)
    return path


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured on Linux")
FORMS = pytest.mark.parametrize(
    ("task", "write", "options"),
    [
        ("classify", write_rows, ()),
        ("classify", write_steps, ("sequence=id", "time=t")),
        ("text", write_texts, ()),
    ],
)


def test_nothing_of_an_array_is_there_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("fastlstm.runs.labelled._AT_ONCE", 7)
    task = find_task("classify")
    part = task.read_part(task.data("x"), write_rows(tmp_path / "rows.csv", 100))
    before = part.X.copy()
    rest, test, _ = hold_out(part, 0.2)
    assert (len(rest), len(test)) == (80, 20)
    assert np.shares_memory(rest.X, part.X)
    assert sorted(map(tuple, [*rest.X, *test.X])) == sorted(map(tuple, before))
    assert np.shares_memory(Sequences(rest.X)[0], rest.X)
    steps = task.data("x", sequence="id", time="t")
    sequences = task.read_part(steps, write_steps(tmp_path / "steps.csv", 500)).X
    assert np.shares_memory(sequences[0], sequences[1].base)


@linux
def test_memory_goes_back_at_once():
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("only glibc can be told to give freed memory back")

    def held():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    pool = pa.system_memory_pool()
    blocks = [pa.array(np.ones(5_000)).cast(pa.int32(), memory_pool=pool) for _ in range(2_000)]
    before = held()
    del blocks[::2]  # 20 MB, between those that stay
    release_memory()
    assert before - held() > 10e6


@linux
@pytest.mark.heavy
@FORMS
def test_a_million_rows_take_at_most_twice_their_size(tmp_path, task, write, options):
    few, many = write(tmp_path / "few.csv", 500), write(tmp_path / "many.csv", 1_000_000)
    # With room: what is measured swings by a tenth.
    assert growth(task, few, many, *options) <= 1.75 * many.stat().st_size


@linux
@pytest.mark.heavy
def test_a_million_steps_of_series_take_at_most_twice_their_size(tmp_path):
    few = write_series(tmp_path / "few.csv", 1_000)
    many = write_series(tmp_path / "many.csv", 1_000_000)
    assert growth("forecast", few, many, "id=unique_id") <= 2 * many.stat().st_size


def test_steps_of_series_are_kept_as_their_values(tmp_path):
    rows = 200_000
    task = find_task("forecast")
    path = write_series(tmp_path / "many.csv", rows)
    data = task.data(str(path), id="unique_id")
    table = pa.total_allocated_bytes()
    parts = task.read(data)
    assert pa.total_allocated_bytes() == table  # nothing holds the table
    series = parts.test.series
    assert {name: array.nbytes for name, array in series.values.items()} == {"y": 4 * rows}

    def stop(event):
        raise KeyboardInterrupt

    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            task.fit(task.settings(), parts, on_event=stop)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The calendar of all rows would be 16 bytes a row, and a copy of the values 8 as float64.
    assert peak / rows < 24
