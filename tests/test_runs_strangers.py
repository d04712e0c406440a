"""Files as strangers have them: what is read all the same, and what is refused before training."""

import csv
from dataclasses import replace

import pytest

from fastlstm.data import DataError
from fastlstm.runs import (
    Parts,
    Run,
    RunError,
    find_task,
    finish,
    predict,
    read_settings,
    train,
)
from fastlstm.runs.classification import Classification, ClassificationData
from fastlstm.runs.labelled import Labelled
from fastlstm.runs.parts import check_labels
from fastlstm.runs.sequence_tables import read_sequences
from fastlstm.runs.tagging import Tagging, TaggingData
from fastlstm.runs.text import TextClassification, TextData
from fastlstm.runs.tuning import with_validation
from run_data import QUICK, step_rows, text_rows, wave_rows, waves, write_csv


def lines_of_waves(count=40):
    values, labels = waves(count)
    head = ",".join([*(f"t{t}" for t in range(values.shape[1])), "label"])
    rows = [",".join([*map(str, row), label]) for row, label in zip(values, labels, strict=True)]
    return [head, *rows]


def read(tmp_path, text, name="own.csv", **options):
    file = tmp_path / name
    file.write_bytes(text.encode())
    return Classification().read(ClassificationData(str(file), **options))


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: "\n".join(lines),
        lambda lines: "\r\n".join(lines) + "\r\n",
        lambda lines: "\ufeff" + "\n".join(lines),
        lambda lines: "\n".join(line.replace(",", ";") for line in lines),
        lambda lines: "\n".join(f'"{line}"'.replace(",", '","') for line in lines),
        lambda lines: "\n".join(f"{line}," for line in lines),
        # As pandas writes its index.
        lambda lines: "\n".join([f",{lines[0]}", *(f"{i},{r}" for i, r in enumerate(lines[1:]))]),
    ],
    ids=["plain", "windows", "mark", "semicolons", "quoted", "last comma", "index"],
)
def test_the_same_table_however_it_is_written(tmp_path, change):
    parts = read(tmp_path, change(lines_of_waves()))
    expected = read(tmp_path, "\n".join(lines_of_waves()), "plain.csv")
    assert parts.train.X.tolist() == expected.train.X.tolist()
    assert list(parts.test.y["label"]) == list(expected.test.y["label"])


def test_columns_that_are_nothing_are_ignored(tmp_path):
    file = write_csv(tmp_path / "own.csv", [{"day": "2024-01-02", **r} for r in wave_rows(20)])
    data = ClassificationData(str(file), ignore=("name", "day"))
    assert Classification().read(data).train.X.shape == (16, 6)
    rows = [{"remark": "?", **row} for row in step_rows(20)]
    data = TaggingData(
        str(write_csv(tmp_path / "steps.csv", rows)), ignore=("remark", "t"), sequence="id"
    )
    assert Tagging().read_part(data, tmp_path / "steps.csv").X[0].shape[1] == 2
    with pytest.raises(DataError, match=r"'remarks': did you mean 'remark'\? it has remark, id,"):
        Tagging().read_part(replace(data, ignore=("remarks",)), tmp_path / "steps.csv")


def test_what_is_ignored_need_not_be_there_to_predict(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "name"} for row in wave_rows(5)]
    data = ClassificationData("x", ignore=("name",))
    found = read_sequences(write_csv(tmp_path / "new.csv", rows), data, labels=False)
    assert found.X.shape == (5, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t0,t1,label\n", "own.csv has no rows"),
        ("t0,t1,label\n1,,a\n2,,b\n", "column 't1' is empty: expected numbers"),
        ("t0,label\nx,a\n2,b\n", "column 't0' holds 'x' in row 1: expected numbers"),
        ('t0,label\n1,a\n"1,5",b\n', "column 't0' holds '1,5' in row 2: expected numbers"),
        ("t0,label\n1,a\n2,a\n", "'label': the 2 sequences have one label, 'a': expected two or"),
        (
            "t0,label\n" + "".join(f"1,{n}.5\n" for n in range(9)),
            "'label': 9 labels for 9 sequences: expected classes, each of several sequences",
        ),
    ],
)
def test_tables_of_which_nothing_can_be_learnt(tmp_path, text, message):
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    assert message in str(error.value)


def test_many_columns_are_not_all_named(tmp_path):
    head = ",".join(f"t{number}" for number in range(300))
    text = f"{head},label\n{'1,' * 300}a\n"
    with pytest.raises(DataError) as error:
        read(tmp_path, text, ignore=("t300",))
    assert str(error.value).endswith("t8, t9, … t299, label (301 in all)")


def test_each_text_with_a_label_of_its_own(tmp_path):
    rows = [{**row, "label": f"of {row['text']}"} for row in text_rows()]
    file = write_csv(tmp_path / "texts.csv", rows)
    with pytest.raises(DataError, match="'label': 64 labels for 64 texts: expected classes, each"):
        TextClassification().read(TextData(str(file)))


@pytest.mark.parametrize("label", [("text",), ("label", "text")])
def test_texts_that_are_their_own_labels(tmp_path, label):
    file = write_csv(tmp_path / "texts.csv", text_rows(1))
    with pytest.raises(DataError, match=r"^text and label are both 'text': expected two columns$"):
        TextClassification().read(TextData(str(file), label=label))


def test_values_that_are_labels(tmp_path):
    file = write_csv(tmp_path / "steps.csv", [{"id": "u", "x": 1, "label": 2}])
    expected = "^features and label are both 'label': expected different columns$"
    features = ("x", "label")
    with pytest.raises(DataError, match=expected):
        Classification().read(ClassificationData(str(file), features=features))
    with pytest.raises(DataError, match=expected):
        Tagging().read_part(TaggingData(str(file), features=features, sequence="id"), file)


def test_few_labels_are_never_too_many():
    check_labels(Labelled([1, 2, 3, 4], {"label": ["a", "b", "c", "d"]}), "sequences", "x")


@pytest.mark.parametrize("option", ["test", "validation"])
def test_a_label_that_training_lacks_is_found_before_it(tmp_path, option):
    train = write_csv(tmp_path / "train.csv", wave_rows(20))
    rows = wave_rows(6)
    rows[2]["label"] = "sideways"
    other = write_csv(tmp_path / "other.csv", rows)
    data = replace(ClassificationData(str(train), ignore=("name",)), **{option: other})
    expected = "other.csv, 'label': the training part has no label 'sideways': expected some of the"
    with pytest.raises(DataError, match=expected):
        Classification().read(data)


def test_tags_that_cannot_be_learnt(tmp_path):
    one = tmp_path / "one.csv"
    one.write_text("label,x\nup,1\ndown,2\n")
    with pytest.raises(DataError, match=r"^one is one sequence: expected a file for the test, or"):
        Tagging().read(TaggingData(str(one)))
    alike = tmp_path / "alike.conll"
    alike.write_text("a X\nb X\n\nc X\n")
    with pytest.raises(DataError, match="'label': the 2 sentences have one label, 'X': expected"):
        Tagging().read(TaggingData(str(alike)))


@pytest.mark.parametrize(("count", "share"), [(300, 0.1), (200, 0.1), (50, 0.4), (40, 0.5)])
def test_of_few_examples_more_are_held_out_to_judge_trials_by(count, share):
    parts = parts_with(count)
    assert with_validation(Classification.settings(), parts).validation == pytest.approx(share)
    assert with_validation(Classification.settings(validation=0.0), parts).validation == 0.0


def test_too_few_examples_to_judge_trials_by():
    expected = "39 training sequences are too few to judge trials by a part of them: expected 40"
    with pytest.raises(RunError, match=expected):
        with_validation(Classification.settings(), parts_with(39))
    given = replace(parts_with(39), validation=parts_with(9).train)
    assert with_validation(Classification.settings(), given).validation == 0.1


def parts_with(count):

    part = Labelled([0] * count, {"label": ["a", "b"] * (count // 2)})
    return Parts("x", "sequences", part, None, part)


def test_a_run_that_was_loaded_has_its_history(tmp_path):

    file = write_csv(tmp_path / "waves.csv", wave_rows(30))
    data = ClassificationData(str(file), ignore=("name",))
    task = find_task("classify")
    first = train(task, data, tmp_path / "run", read_settings(task.settings, None, QUICK))
    run = Run.open(tmp_path / "run")
    again = finish(run, run.load(), run.read())
    assert again.seconds == first.seconds > 0
    assert again.scores == first.scores


def turned(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The same rows, the last column first."""
    return [dict(reversed(row.items())) for row in rows]


@pytest.mark.parametrize(
    ("task", "rows", "columns"),
    [
        ("classify", wave_rows(), {"ignore": ("name",)}),
        ("classify", step_rows(), {"sequence": "id", "time": "t"}),
        ("tag", step_rows(), {"sequence": "id", "time": "t"}),
    ],
)
def test_columns_in_another_order(tmp_path, task, rows, columns):
    found = find_task(task)
    if task == "tag":
        columns = {**columns, "label": ("label",)}
    file = write_csv(tmp_path / "train.csv", rows)
    settings = read_settings(found.settings, None, ["lstm.hidden_size=3", "training.epochs=1"])
    train(task, found.data(str(file), **columns), tmp_path / "run", settings)
    run = Run.open(tmp_path / "run")
    values = [n for n in rows[0] if n not in ("id", "t", "name", "label")]
    assert run.data.features == tuple(values)

    other = write_csv(tmp_path / "other.csv", turned(rows))
    for name in ("train", "other"):
        predict(run, tmp_path / f"{name}.csv", tmp_path / f"{name}-named.csv")
    one, two = (read_rows(tmp_path / f"{name}-named.csv") for name in ("train", "other"))
    assert [row["probability"] for row in one] == [row["probability"] for row in two]
    assert run.measure(file).scores == run.measure(other).scores

    without = [{n: v for n, v in row.items() if n != values[-1]} for row in rows]
    with pytest.raises(DataError, match=f"has no column '{values[-1]}'"):
        predict(run, write_csv(tmp_path / "without.csv", without), tmp_path / "x.csv")


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
