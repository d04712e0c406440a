"""Tables with a row for each sequence, whose columns are lists: of values, or of vectors."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from fastlstm.data import DataError
from fastlstm.runs import Run, predict, predict_table, read_settings, train
from fastlstm.runs.classification import Classification, ClassificationData
from fastlstm.runs.list_columns import list_values
from fastlstm.runs.tagging import Tagging, TaggingData
from run_data import QUICK, waves, write_csv, write_json_lines, write_parquet
from tagger_cases import recordings

WRITERS = {".jsonl": write_json_lines, ".parquet": write_parquet}


def ragged(count=40, seed=0):
    """Waves of unequal lengths, and their labels."""
    values, labels = waves(count, seed)
    lengths = np.random.default_rng(seed).integers(3, 7, count)
    return [row[:length] for row, length in zip(values, lengths, strict=True)], labels


def in_columns(row):
    return {"x": row.tolist(), "y": (2 * row).tolist()}


def in_vectors(row):
    return {"values": [[value, 2 * value] for value in row.tolist()]}


def rows_of(form, sequences, labels):
    return [
        {"name": f"w{place}", **form(row), "label": label}
        for place, (row, label) in enumerate(zip(sequences, labels, strict=True))
    ]


def read(path, **options):
    return Classification().read_part(ClassificationData(str(path), **options), path)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("form", [in_columns, in_vectors])
def test_lists_of_unequal_lengths(tmp_path, suffix, form):
    sequences, labels = ragged()
    path = WRITERS[suffix](tmp_path / f"f{suffix}", rows_of(form, sequences, labels))
    part = read(path, ignore=("name",))
    assert list(part.y["label"]) == labels
    for found, row in zip(part.X, sequences, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.stack([row, 2 * row], axis=1), rtol=1e-6)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_value_a_step_in_lists_of_one_length(tmp_path, suffix):
    values, labels = waves(9)
    rows = rows_of(lambda row: {"values": row.tolist()}, values, labels)
    part = read(WRITERS[suffix](tmp_path / f"f{suffix}", rows), features=("values",))
    np.testing.assert_array_equal(part.X, values.astype(np.float32)[:, :, None])
    assert list(part.y["label"]) == labels


VECTORS = [[[1, 2], [3, 4], [5, 6]], [[7, 8]]]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.int8())),
        pa.large_list(pa.large_list(pa.float64())),
        pa.list_(pa.list_(pa.float32(), 2)),
        pa.list_(pa.list_(pa.float16())),
    ],
    ids=str,
)
def test_all_kinds_of_lists_in_any_pieces(tmp_path, kind):
    whole = pa.array([[[9, 9]], *VECTORS], pa.list_(pa.list_(pa.float32()))).cast(kind)
    for pieces in ([whole[1:]], [whole[1:2], whole[3:], whole[2:]]):
        values, lengths = list_values({"v": pa.chunked_array(pieces)}, tmp_path)
        assert values.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
        assert lengths.tolist() == [3, 1]


def test_lists_of_one_size_and_of_truth_values(tmp_path):
    columns = {
        "two": pa.chunked_array([pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))]),
        "true": pa.chunked_array([[[True, False], [False, True]]]),
    }
    values, lengths = list_values(columns, tmp_path)
    assert values.tolist() == [[1, 1], [2, 0], [3, 0], [4, 1]]
    assert lengths.tolist() == [2, 2]
    assert not columns  # nothing holds them any longer


def of_lists(*lists, **more):
    return [{"v": values, "label": "a", **more} for values in lists]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (of_lists([1], []), {}, "'v': row 2 has an empty list: expected a value or a vector a ste"),
        (of_lists([1], None), {}, "'v': row 2 is empty: expected a value or a vector a step"),
        (of_lists([1], [2, None]), {}, "'v': row 2 has no finite number at step 2"),
        (of_lists([True], [None]), {}, "'v': row 2 has no finite number at step 1"),
        (of_lists([1.0], [2, float("inf")]), {}, "'v': row 2 has no finite number at step 2"),
        (of_lists([1.0], [2, 1e300]), {}, "'v': row 2 has no finite number at step 2"),
        (of_lists([None], [None]), {}, "'v': row 1 has no finite number at step 1"),
        (of_lists(["x"], ["y"]), {}, "'v' holds 'x' in row 1: expected lists of numbers"),
        (of_lists([[["x"]]]), {}, "'v' holds lists of list<"),
        (
            of_lists([[1, 2]], [[3, 4], [5]]),
            {},
            "'v': row 2 has 1 values at step 2: expected 2, as at the first step",
        ),
        (of_lists([[1]], [[2], None]), {}, "'v': row 2 has 0 values at step 2: expected 1, as at"),
        (of_lists([[]], [[2]]), {}, "'v': row 1 has 0 values at step 1: expected one or more"),
        (of_lists([[1, None]]), {}, "'v': row 1 has no finite number at step 1"),
        (
            [{"x": [1], "y": [2], "label": "a"}, {"x": [1, 2], "y": [2], "label": "a"}],
            {},
            "'y': row 2 has a list of 1, and column 'x' one of 2: expected as many",
        ),
        (
            of_lists([1], age=3),
            {},
            "'age' holds int64: expected lists of numbers, as column 'v' does; say which columns",
        ),
        (of_lists([1], name="x"), {}, "'name' holds 'x' in row 1: expected lists of numbers, as"),
        (of_lists([1], age=3), {"features": ("age", "v")}, "'age' holds int64: expected lists of"),
        (
            of_lists([1], id=3),
            {"sequence": "id"},
            "'v' holds a list in row 1: expected a number, as each row is a step of a 'id' (seq",
        ),
        ([{"v": [1], "label": ["a"]}], {}, "'label' holds list<"),
        (of_lists([1]) + of_lists([2], label=" "), {}, "'label': row 2 has no label"),
    ],
)
@pytest.mark.parametrize("suffix", WRITERS)
def test_lists_that_cannot_be_read(tmp_path, suffix, rows, options, message):
    path = WRITERS[suffix](tmp_path / f"f{suffix}", rows)
    with pytest.raises(DataError) as error:
        read(path, **options)
    assert str(error.value).startswith(f"{path}, column {message}")
    assert "\n" not in str(error.value)


def test_a_text_among_numbers(tmp_path):
    path = write_json_lines(tmp_path / "f.jsonl", of_lists([1], [2, "x"]))
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == f"{path}, column 'v', line 2: \"x\" where a number stood before"


def test_plain_columns_beside_features_that_are_lists(tmp_path):
    path = write_json_lines(tmp_path / "f.jsonl", of_lists([1], [2, 3], age=3, remark="x"))
    for options in ({"features": ("v",)}, {"ignore": ("age", "remark")}):
        assert [row.tolist() for row in read(path, **options).X] == [[[1]], [[2], [3]]]


def quick(task):
    return read_settings(task.settings, None, QUICK)


@pytest.mark.parametrize("suffix", WRITERS)
def test_train_evaluate_and_predict(tmp_path, suffix):
    path = WRITERS[suffix](tmp_path / f"f{suffix}", rows_of(in_columns, *ragged()))
    data = ClassificationData(str(path), ignore=("name",))
    outcome = train("classify", data, tmp_path / "run", quick(Classification()))
    run = Run.open(outcome.path)
    assert run.measure(path).scores.metrics[0].value > 0.5

    sequences, labels = ragged(9, seed=1)
    new = WRITERS[suffix](tmp_path / f"new{suffix}", rows_of(in_columns, sequences, labels))
    table = predict_table(run, new)
    assert table.column_names == ["name", "label", "prediction", "probability"]
    assert table.column("name").to_pylist() == [f"w{place}" for place in range(9)]
    steps = [np.stack([row, 2 * row], axis=1) for row in sequences]
    assert table.column("prediction").to_pylist() == list(outcome.estimator.predict(steps))
    bare = WRITERS[suffix](tmp_path / f"bare{suffix}", [in_columns(row) for row in sequences])
    assert predict_table(run, bare).column_names == ["prediction", "probability"]
    assert predict(run, new, tmp_path / "out.csv") == 9


def test_other_lists_are_written_to_csv_as_json(tmp_path):
    path = write_json_lines(tmp_path / "f.jsonl", rows_of(in_columns, *ragged(12)))
    data = ClassificationData(str(path), features=("x",))
    outcome = train("classify", data, tmp_path / "run", quick(Classification()))
    rows = [{"x": [1, 2], "y": [3, None]}, {"x": [1], "y": None}]
    new = write_json_lines(tmp_path / "new.jsonl", rows)
    predict(Run.open(outcome.path), new, tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert [line.rpartition(",")[0].rpartition(",")[0] for line in lines] == [
        '"y"',
        '"[3, null]"',
        "",
    ]


def frame_rows(count=12, seed=0):
    """Recordings with lists of two features and of labels."""
    frames, labels = recordings(count, seed, steps=50)
    return [
        {"who": f"r{i}", "x": x.tolist(), "y": y.tolist(), "label": of_frames}
        for i, ((x, y), of_frames) in enumerate(
            zip((values.round(3).T for values in frames), labels, strict=True)
        )
    ]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_label_for_each_step(tmp_path, suffix):
    rows = frame_rows()
    path = WRITERS[suffix](tmp_path / f"f{suffix}", rows)
    data = TaggingData(str(path), ignore=("who",))
    part = Tagging().read_part(data, path)
    assert part.noun == "recordings"
    assert part.names[:2] == ["row 1", "row 2"]
    assert part.y == {"label": [row["label"] for row in rows]}
    for found, row in zip(part.X, rows, strict=True):
        np.testing.assert_allclose(found, np.stack([row["x"], row["y"]], axis=1), rtol=1e-6)

    settings = ("lstm.hidden_size=5", "training.epochs=2", "training.batch_size=8")
    settings = read_settings(Tagging.settings, None, settings)
    outcome = train("tag", data, tmp_path / "run", settings)
    run = Run.open(outcome.path)
    assert run.measure(path).scores.metrics[0].name == "accuracy"
    new = [{key: row[key] for key in ("who", "x", "y")} for row in frame_rows(3, seed=4)]
    table = predict_table(run, WRITERS[suffix](tmp_path / f"new{suffix}", new))
    assert table.column_names == ["sequence", "step", "who", "prediction", "probability"]
    frames = [np.stack([row["x"], row["y"]], axis=1) for row in new]
    said = outcome.estimator.predict(frames)
    places = [(i, t) for i, of_row in enumerate(said) for t in range(len(of_row))]
    assert [
        (row["sequence"] - 1, row["step"] - 1, row["who"], row["prediction"])
        for row in table.to_pylist()
    ] == [(i, t, f"r{i}", said[i][t]) for i, t in places]


def test_labels_that_are_numbers_and_vectors_that_are_named(tmp_path):
    rows = [{"v": [[1, 2], [3, 4]], "words": ["a", "b"], "kinds": [0, 1]}]
    path = write_json_lines(tmp_path / "f.jsonl", rows)
    data = TaggingData(str(path), label=("kinds",), features=("v",))
    part = Tagging().read_part(data, path)
    assert part.y == {"kinds": [["0", "1"]]}
    assert part.X[0].tolist() == [[1, 2], [3, 4]]
    words = Tagging().read_part(TaggingData(str(path), label=("kinds",), tokens="words"), path)
    assert words.X == [["a", "b"]]
    with pytest.raises(DataError, match="line 1: expected an object with a list 'tokens'"):
        Tagging().read_part(TaggingData(str(path), label=("kinds",)), path)


def test_words_that_are_numbers_stay_words(tmp_path):
    path = write_json_lines(tmp_path / "f.jsonl", [{"tokens": [1, 2], "labels": ["a", "b"]}])
    assert Tagging().read_part(TaggingData(str(path)), path).X == [["1", "2"]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"v": [1, 2], "label": ["a"]}, ", column 'label': row 2 has 1 labels for 2 steps: expect"),
        ({"v": [1], "label": []}, ", column 'label': row 2 has an empty list"),
        ({"v": [1, 2], "label": ["a", " "]}, ", column 'label': row 2 lacks a label"),
        ({"v": [1, 2], "label": ["a", None]}, ", column 'label': row 2 lacks a label"),
        ({"v": [1]}, ", column 'label': row 2 is empty"),
        ({"v": [], "label": ["a"]}, ", column 'v': row 2 has an empty list"),
        ({"v": [1], "label": ["a"], "step": 1}, " has a column 'step' already: rename it"),
    ],
)
def test_labels_of_steps_that_cannot_be_read(tmp_path, row, message):
    path = write_json_lines(tmp_path / "f.jsonl", [{"v": [1, 2], "label": ["a", "b"]}, row])
    with pytest.raises(DataError) as error:
        Tagging().read_part(TaggingData(str(path), features=("v",)), path)
    assert str(error.value).startswith(f"{path}{message}")


def test_labels_of_another_form_than_the_values(tmp_path):
    path = write_json_lines(tmp_path / "f.jsonl", [{"v": [1, 2], "label": "a"}])
    expected = "column 'label' holds a label for each sequence: expected a list, one a step$"
    with pytest.raises(DataError, match=expected):
        Tagging().read_part(TaggingData(str(path)), path)
    path = write_parquet(tmp_path / "f.parquet", [{"v": 1, "label": ["a"]}])
    expected = "column 'label' holds lists, and column 'v' none: expected a label in each row"
    with pytest.raises(DataError, match=expected):
        Tagging().read_part(TaggingData(str(path)), path)


def test_lists_from_the_command_line(run, tmp_path):
    path = write_json_lines(tmp_path / "f.jsonl", rows_of(in_vectors, *ragged()))
    options = [part for setting in QUICK for part in ("--set", setting)]
    status, _, err = run("train", "classify", path, "--ignore", "name", *options, "--output", "a")
    assert (status, err) == (0, "")
    assert run("evaluate", "a", path)[0] == 0
    status, _, err = run("predict", "a", path, "--output", "out.jsonl")
    assert (status, err) == (0, "")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == [f"w{place}" for place in range(40)]
    status, _, err = run("predict", "a", write_csv(tmp_path / "f.csv", [{"x": 1}]))
    assert status == 2
    assert len(err.splitlines()) == 1
