"""Runs of classifiers from data to report: what is read, what is written, what is refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fastlstm.data import DataError, Labels
from fastlstm.models import ModelError
from fastlstm.runs import Run, RunError, find_task, predict, read_settings, resume, train
from fastlstm.runs.classification import Classification, ClassificationData
from fastlstm.runs.labelled import Labelled, hold_out
from fastlstm.runs.sequence_tables import feature_values
from fastlstm.runs.text import TextClassification, TextData
from fastlstm.training import Interrupted, RunFolderError
from run_data import (
    QUICK,
    STEPS,
    WRITERS,
    step_rows,
    text_rows,
    wave_rows,
    waves,
    write_csv,
    write_images,
    write_json_lines,
)


def quick(task):
    return read_settings(task.settings, None, QUICK)


FEATURES = tuple(f"t{t}" for t in range(STEPS))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on waves that has ended, and the file of the waves."""
    folder = tmp_path_factory.mktemp("trained")
    file = write_csv(folder / "waves.csv", wave_rows())
    data = ClassificationData(str(file), features=FEATURES)
    outcome = train("classify", data, folder / "run", quick(Classification()))
    return outcome, file


def test_a_run_leaves_scores_and_a_report(trained):
    outcome, _ = trained
    assert sorted(path.name for path in outcome.path.iterdir()) == [
        "model",
        "report.html",
        "run.json",
        "scores.json",
    ]
    scores = json.loads((outcome.path / "scores.json").read_text())
    assert scores["task"] == "classify"
    assert scores["data"] == "waves"
    assert (scores["training_examples"], scores["test_examples"]) == (48, 12)
    assert scores["baseline"] == "most frequent class"
    assert list(scores["scores"]) == ["accuracy", "balanced accuracy", "macro F1", "log loss"]
    accuracy = scores["scores"]["accuracy"]
    assert accuracy["value"] == outcome.scores.metrics[0].value > accuracy["baseline"]
    assert scores["scores"]["log loss"]["baseline"] is None
    page = (outcome.path / "report.html").read_text()
    for expected in ("waves", "48\N{NO-BREAK SPACE}sequences", "Confusion matrix"):
        assert expected.replace("\N{NO-BREAK SPACE}", " ") in page.replace(
            "\N{NO-BREAK SPACE}", " "
        )
    assert "20% of the examples, drawn class by class, held out for the test" in page


def test_the_estimator_of_a_run_loads_by_itself(trained):
    from fastlstm import SequenceClassifier

    outcome, _ = trained
    loaded = SequenceClassifier.load(outcome.path / "model")
    X = waves(seed=3)[0]
    np.testing.assert_array_equal(loaded.predict_proba(X), outcome.estimator.predict_proba(X))


def test_scores_are_those_of_the_held_out_rows(trained):
    outcome, _ = trained
    task = Classification()
    run = Run.open(outcome.path)
    parts = run.read()
    assert isinstance(parts.test, Labelled)
    expected = outcome.estimator.score(parts.test.X, parts.test.labels())
    assert outcome.scores.metrics[0].value == expected
    assert task.measure(run.load(), parts.test).scores == outcome.scores


def test_the_baseline_is_the_most_frequent_class_of_the_training_part(tmp_path):
    rows = wave_rows(50)
    for place, row in enumerate(rows):
        row["label"] = "rare" if place % 5 == 0 else "usual"
    data = ClassificationData(str(write_csv(tmp_path / "x.csv", rows)), features=FEATURES)
    outcome = train("classify", data, tmp_path / "run", quick(Classification()))
    found = {metric.name: metric.baseline for metric in outcome.scores.metrics}
    assert found == {
        "accuracy": 0.8,
        "balanced accuracy": 0.5,
        "macro F1": pytest.approx(0.8 / 1.8),
        "log loss": None,
    }


@pytest.mark.parametrize("suffix", WRITERS)
def test_rows_as_sequences(tmp_path, suffix):
    file = WRITERS[suffix](tmp_path / f"waves{suffix}", wave_rows(20))
    part = Classification().read_part(ClassificationData(str(file), features=FEATURES), file)
    values, labels = waves(20)
    np.testing.assert_array_equal(part.X, values.astype(np.float32))
    assert {name: list(of_target) for name, of_target in part.y.items()} == {"label": labels}


def test_features_are_by_default_what_is_no_label(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "name"} for row in wave_rows(20)]
    file = write_csv(tmp_path / "waves.csv", rows)
    part = Classification().read_part(ClassificationData(str(file)), file)
    np.testing.assert_array_equal(part.X, waves(20)[0].astype(np.float32))


def test_rows_as_steps(tmp_path):
    rows = step_rows()
    file = write_csv(tmp_path / "steps.csv", rows)
    data = ClassificationData(str(file), sequence="id", time="t")
    part = Classification().read_part(data, file)
    names = list(dict.fromkeys(row["id"] for row in rows))
    assert len(part) == len(names) == 40
    for name, sequence, label in zip(names, part.X, part.y["label"], strict=True):
        own = sorted((row for row in rows if row["id"] == name), key=lambda row: row["t"])
        np.testing.assert_allclose(sequence, [[row["x"], row["y"]] for row in own], rtol=1e-6)
        assert {row["label"] for row in own} == {label}


def test_steps_without_a_time_stay_in_the_order_of_the_file(tmp_path):
    rows = [
        {"id": name, "x": x, "label": "a"} for name, x in (("u", 3), ("v", 9), ("u", 1), ("u", 2))
    ]
    file = write_csv(tmp_path / "steps.csv", rows)
    part = Classification().read_part(ClassificationData(str(file), sequence="id"), file)
    assert [sequence.tolist() for sequence in part.X] == [[[3], [1], [2]], [[9]]]


def test_several_targets(tmp_path):
    rows = wave_rows(60)
    for row in rows:
        row["sign"] = "plus" if float(row["t0"]) > 0 else "minus"
    file = write_csv(tmp_path / "two.csv", rows)
    data = ClassificationData(str(file), label=("label", "sign"), features=FEATURES)
    outcome = train("classify", data, tmp_path / "run", quick(Classification()))
    names = [metric.name for metric in outcome.scores.metrics]
    assert names[0] == "label: accuracy"
    assert names[4] == "sign: accuracy"
    predict(Run.open(outcome.path), file, tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    new = ["prediction_label", "probability_label", "prediction_sign", "probability_sign"]
    assert list(row)[-4:] == new
    page = (outcome.path / "report.html").read_text()
    assert "Confusion matrix: sign" in page


def test_a_folder_of_images(tmp_path):
    folder = write_images(tmp_path / "sides")
    data = ClassificationData(str(folder))
    outcome = train("classify", data, tmp_path / "run", quick(Classification()))
    assert outcome.scores.metrics[0].value == 1.0
    run = Run.open(outcome.path)
    assert predict(run, folder / "left", tmp_path / "out.jsonl") == 12
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {row["prediction"] for row in rows} == {"left"}
    assert rows[0]["file"] == str(folder / "left" / "0.png")
    assert predict(run, folder / "right" / "3.png", tmp_path / "one.txt") == 1
    assert (tmp_path / "one.txt").read_text() == "right\n"


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (9, 7)),
        ({"by": "pixels"}, (63, 1)),
        ({"size": (4, 5)}, (4, 5)),
        ({"colour": True}, (9, 21)),
        ({"by": "pixels", "colour": True}, (63, 3)),
    ],
)
def test_how_images_become_sequences(tmp_path, options, shape):
    folder = write_images(tmp_path / "sides", 2)
    part = Classification().read_part(ClassificationData(str(folder), **options), folder)
    assert part.X.shape == (4, *shape)
    assert part.X.dtype == np.float32
    assert 0.2 < part.X.max() <= 1
    assert part.example(0).dtype == np.uint8


def test_images_of_sixteen_bits_keep_their_shades(tmp_path):
    from PIL import Image

    from fastlstm.runs.images import read_images

    Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert read_images([tmp_path / "deep.png"], None, False)[0].tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("by", ["rows", "pixels"])
def test_a_named_set_has_its_own_parts(by):
    parts = Classification().read(ClassificationData("digits", by=by))
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [1293, 144, 360]
    assert parts.test.X.shape == ((360, 8, 8) if by == "rows" else (360, 64, 1))
    assert parts.test.X.max() == 1.0
    assert parts.test.example(0).max() == 255
    assert set(parts.test.y["label"]) == set("0123456789")


def test_texts(tmp_path):
    file = write_csv(tmp_path / "texts.csv", text_rows())
    task = TextClassification()
    outcome = train("text", TextData(str(file)), tmp_path / "run", quick(task))
    assert outcome.scores.metrics[0].name == "accuracy"
    (tmp_path / "new.txt").write_text("a fine film\nno fun\n", encoding="utf-8")
    predict(Run.open(outcome.path), tmp_path / "new.txt", tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == '"text","prediction","probability"'
    assert len(lines) == 3
    page = (outcome.path / "report.html").read_text()
    assert "A classifier of texts into 2 classes: a bidirectional LSTM of 7 units" in page


def test_other_files_for_validation_and_test(tmp_path):
    train_file = write_csv(tmp_path / "train.csv", wave_rows(40))
    test_file = write_json_lines(tmp_path / "test.jsonl", wave_rows(10, seed=1))
    data = ClassificationData(
        str(train_file), features=FEATURES, test=test_file, validation=test_file
    )
    parts = Classification().read(data)
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [40, 10, 10]
    assert parts.note == f"validation from {test_file}, test from {test_file}"


def test_every_class_has_its_share_of_the_test_part():
    labels = ["a"] * 40 + ["b"] * 10
    kept, held_out, note = hold_out(
        Labelled(np.arange(50)[:, None], {"label": Labels.of(labels)}), 0.2
    )
    assert (held_out.y["label"].count("a"), held_out.y["label"].count("b")) == (8, 2)
    assert sorted([*kept.X[:, 0], *held_out.X[:, 0]]) == list(range(50))
    assert note == "20% of the examples, drawn class by class, held out for the test"
    for part in (kept, held_out):
        assert [labels[i] for i in part.X[:, 0]] == list(part.y["label"])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"label": ("kind",)}, "has no column 'kind': it has name, t0, t1, t2, t3, t4, t5, la"),
        (
            {},
            {},
            "column 'name' holds 'w0' in row 1: expected numbers; say which columns are values",
        ),
        ({"t2": ""}, {"features": FEATURES}, "column 't2': row 4 has no finite number"),
        ({"label": " "}, {"features": FEATURES}, "column 'label': row 4 has no label"),
        ({}, {"features": ("t0", "t9")}, "has no column 't9'"),
        ({}, {"time": "t0"}, "time is 't0': expected with it the column that says which sequence"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, change, options, message):
    rows = wave_rows(12)
    rows[3].update(change)
    file = write_csv(tmp_path / "waves.csv", rows)
    with pytest.raises(DataError) as error:
        Classification().read(ClassificationData(str(file), **options))
    assert message in str(error.value)


def test_of_two_wrong_columns_the_first_is_named(tmp_path):
    x = pa.chunked_array([[1.0, 2.0], [3.0, None]])
    y = pa.chunked_array([[1.0], [None, 3.0, 4.0]])
    with pytest.raises(DataError, match=r"^f, column 'x': row 4 has no finite number$"):
        feature_values({"x": x, "y": y}, 4, Path("f"))
    found = feature_values({"y": y.fill_null(9), "x": x.fill_null(8)}, 4, Path("f"))
    np.testing.assert_array_equal(found, [[1, 1], [9, 2], [3, 3], [4, 8]])


def test_a_sequence_with_two_labels(tmp_path):
    rows = [{"id": "u", "x": 1, "label": label} for label in ("a", "b")]
    file = write_csv(tmp_path / "steps.csv", rows)
    expected = f"{file}: sequence 'u' has the labels 'a' and 'b' in column 'label': expected one"
    with pytest.raises(DataError, match="^" + expected.replace("\\", "\\\\") + "$"):
        Classification().read(ClassificationData(str(file), sequence="id"))


def test_images_of_one_class(tmp_path):
    folder = write_images(tmp_path / "sides", 2)
    with pytest.raises(DataError, match="holds images of 0 classes: expected a folder of images"):
        Classification().read(ClassificationData(str(folder / "left")))


def test_a_file_that_is_no_image(tmp_path):
    folder = write_images(tmp_path / "sides", 2)
    (folder / "left" / "9.png").write_text("no")
    with pytest.raises(DataError, match=r"cannot read .*9\.png as an image: "):
        Classification().read(ClassificationData(str(folder)))


def test_no_such_task():
    with pytest.raises(RunError, match="unknown task 'paint': expected one of classify, text"):
        find_task("paint")


def test_no_such_source(tmp_path):
    expected = "cifar is no data set for classify and no file: expected digits, mnist, or a path"
    with pytest.raises(RunError, match=expected):
        train("classify", ClassificationData("cifar"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    file = write_csv(tmp_path / "waves.csv", wave_rows())
    data = ClassificationData(str(file), features=FEATURES)
    settings = read_settings(
        Classification.settings, None, [*QUICK, "training.checkpoint_seconds=0"]
    )

    class Stop(Interrupted):
        pass

    def interrupt(event):
        if type(event).__name__ == "EpochDone" and event.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train("classify", data, tmp_path / "one", settings, interrupt)
    assert not (tmp_path / "one" / "scores.json").exists()
    resumed = resume(tmp_path / "one")
    whole = train("classify", data, tmp_path / "two", settings)
    assert resumed.scores == whole.scores
    weights = [
        (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("one", "two")
    ]
    assert weights[0] == weights[1]


def test_a_run_killed_before_its_first_checkpoint_begins_anew(trained, tmp_path):
    outcome, _ = trained
    run = Run.open(outcome.path)
    copy = Run(tmp_path / "copy", run.task, run.data, run.settings)
    copy.save()
    copy.model.mkdir()
    (copy.model / ".config.json.partial").write_text("{")
    again = resume(copy.path)
    assert again.scores == outcome.scores


def test_a_new_run_that_fails_leaves_nothing(tmp_path):
    file = write_csv(tmp_path / "waves.csv", wave_rows())
    data = ClassificationData(str(file), features=FEATURES)
    settings = read_settings(Classification.settings, None, ["pooling=sum"])
    with pytest.raises(ModelError, match="pooling must be one of last"):
        train("classify", data, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "run.json has format 9: expected 1"),
        ({"task": "paint"}, "unknown task 'paint'"),
        ({"data": {"sauce": "x"}}, "run.json: unknown key sauce: did you mean source?"),
        ({"settings": {"pool": "x"}}, "run.json: unknown key pool: did you mean pooling?"),
        ({"data": None}, "run.json: it is None: expected a table of source, "),
        (b'{"format": 1}', "run.json is damaged: KeyError('task')"),
        (b"{", "run.json is not valid JSON: "),
        (b"\xff", "run.json is not valid JSON: "),
        (b"[]", "run.json holds no JSON object"),
    ],
)
def test_a_damaged_run(trained, tmp_path, change, message):
    content = change
    if isinstance(change, dict):
        found = json.loads((trained[0].path / "run.json").read_text())
        content = json.dumps({**found, **change}).encode()
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunFolderError) as error:
        Run.open(tmp_path)
    assert message in str(error.value)


def test_folders_that_are_no_run(tmp_path):
    with pytest.raises(RunFolderError, match="is not a folder: expected the folder of a run"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"cannot read .*run\.json: No such file"):
        Run.open(tmp_path)
