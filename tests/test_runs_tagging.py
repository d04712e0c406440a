"""Runs of taggers from data to report: what is read, what is written, what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from browser import EXECUTABLE, Browser
from fastlstm.data import DataError
from fastlstm.runs import Run, predict, predict_table, read_settings, train
from fastlstm.runs.tagging import Tagging, TaggingData
from fastlstm.runs.tagging_files import Tagged
from run_data import write_csv, write_json_lines
from tagger_cases import places, recordings, sentences

QUICK = (
    "lstm.hidden_size=8",
    "training.epochs=8",
    "training.batch_size=8",
    "training.learning_rate=0.03",
    "embedding_size=8",
    "character_size=8",
    "input_dropout=0",
    "dropout=0",
)


def quick() -> Any:
    return read_settings(Tagging.settings, None, QUICK)


def write_conllu(path: Path, words: Any, tags: Any) -> Path:
    def line(number: int, word: str, tag: str) -> str:
        return "\t".join([str(number), word, word, tag, f"X{tag}", "_", "0", "_", "_", "_"])

    blocks = [
        "\n".join(line(n, *pair) for n, pair in enumerate(zip(*rows, strict=True), 1))
        for rows in zip(words, tags, strict=True)
    ]
    path.write_text("\n\n".join(blocks) + "\n")
    return path


def write_conll(path: Path, words: Any, tags: Any) -> Path:
    blocks = [
        "\n".join(f"{word} {tag}" for word, tag in zip(*rows, strict=True))
        for rows in zip(words, tags, strict=True)
    ]
    path.write_text("\n\n".join(blocks) + "\n")
    return path


def frame_rows(count: int = 12, seed: int = 0, shuffled: bool = True) -> list[dict[str, object]]:
    """A row for each frame of recordings."""
    frames, labels = recordings(count, seed, steps=50)
    rows: list[dict[str, object]] = [
        {"who": f"r{i}", "t": t, "x": float(x), "y": float(y), "label": label}
        for i, (values, of_frames) in enumerate(zip(frames, labels, strict=True))
        for t, ((x, y), label) in enumerate(zip(values.round(3), of_frames, strict=True))
    ]
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[place] for place in order] if shuffled else rows


@pytest.fixture(scope="module")
def of_words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("words")
    file = write_conllu(folder / "bank.conllu", *sentences(60))
    return train("tag", TaggingData(str(file)), folder / "run", quick())


@pytest.fixture(scope="module")
def of_frames(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("frames")
    file = write_csv(folder / "motion.csv", frame_rows())
    data = TaggingData(str(file), sequence="who", time="t")
    return train("tag", data, folder / "run", quick())


def test_a_run_on_words_leaves_scores_and_a_report(of_words: Any) -> None:
    scores = json.loads((of_words.path / "scores.json").read_text())
    assert (scores["task"], scores["data"]) == ("tag", "bank")
    assert (scores["training_examples"], scores["test_examples"]) == (48, 12)
    assert scores["baseline"] == "most frequent tag"
    assert list(scores["scores"]) == ["accuracy", "macro F1"]  # no word is unknown
    accuracy = scores["scores"]["accuracy"]
    assert accuracy["value"] > accuracy["baseline"] > 0.5
    page = (of_words.path / "report.html").read_text()
    for expected in (
        "Tagged sentences",
        "Those with the most errors.",
        "Confusion matrix",
        "12 of 60 sentences, drawn at random, held out for the test",
        "A tagger of words with 4 classes: a bidirectional LSTM of 8 units.",
    ):
        assert expected in page.replace("\N{NO-BREAK SPACE}", " ")


def test_a_run_on_frames_leaves_scores_and_a_report(of_frames: Any) -> None:
    scores = json.loads((of_frames.path / "scores.json").read_text())
    assert (scores["training_examples"], scores["test_examples"]) == (10, 2)
    assert scores["baseline"] == "most frequent class"
    assert scores["scores"]["accuracy"]["value"] > 0.6
    page = (of_frames.path / "report.html").read_text()
    for expected in ("Recordings", "A tagger of frames with 2 classes", "of 12 recordings held"):
        assert expected in page


@pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium")
def test_the_reports_open_without_complaint(of_words: Any, of_frames: Any) -> None:
    with Browser() as browser:
        for outcome, found in ((of_words, ".word"), (of_frames, ".strip svg rect")):
            browser.open(outcome.path / "report.html", 1000)
            assert browser.complaints == []
            assert browser.evaluate(f"document.querySelectorAll('{found}').length") > 0
            wide = "document.documentElement.scrollWidth <= window.innerWidth"
            assert browser.evaluate(wide)


@pytest.mark.parametrize("ending", ["conllu", "CONLLU", "conll", "txt", "TXT", "jsonl", "JSONL"])
def test_words_of_files_are_predicted_a_row_each(
    of_words: Any, ending: str, tmp_path: Path
) -> None:
    words, tags = sentences(5, seed=9)
    file = tmp_path / f"new.{ending}"
    if ending.lower() == "conllu":
        write_conllu(file, words, tags)
    elif ending == "conll":
        file.write_text("\n\n".join("\n".join(row) for row in words) + "\n")
    elif ending.lower() == "txt":
        file.write_text("".join(" ".join(row) + "\n" for row in words))
    else:
        write_json_lines(file, [{"tokens": row} for row in words])
    table = predict_table(Run.open(of_words.path), file)
    assert table.column_names == ["sentence", "token", "prediction", "probability"]
    assert table.column("token").to_pylist() == [word for row in words for word in row]
    said = [label for row in of_words.estimator.predict(words) for label in row]
    assert table.column("prediction").to_pylist() == said
    chances = np.concatenate(of_words.estimator.predict_proba(words)).max(axis=1)
    assert np.allclose(table.column("probability").to_numpy(), chances)
    assert table.column("sentence").to_pylist()[-1] == 5


@pytest.mark.parametrize("ending", ["csv", "CSV", "parquet", "PARQUET"])
def test_frames_of_tables_are_predicted_in_their_rows(
    of_frames: Any, ending: str, tmp_path: Path
) -> None:
    rows = frame_rows(3, seed=4)
    for row in rows:
        del row["label"]
    file = tmp_path / f"new.{ending}"
    if ending.lower() == "csv":
        write_csv(file, rows)
    else:
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), file)
    table = predict_table(Run.open(of_frames.path), file)
    assert table.column_names == ["who", "t", "x", "y", "prediction", "probability"]
    frames, _ = recordings(3, seed=4, steps=50)
    said = of_frames.estimator.predict([values.round(3) for values in frames])
    for row in table.to_pylist():
        assert row["prediction"] == said[int(row["who"][1:])][row["t"]]
        assert 0.5 <= row["probability"] <= 1
    assert predict(Run.open(of_frames.path), file, tmp_path / "out.jsonl") == len(rows)


@pytest.mark.parametrize("ending", ["conllu", "CONLLU", "jsonl", "JSONL"])
def test_the_labels_that_a_file_is_read_with_go_by_its_ending(ending: str, tmp_path: Path) -> None:
    words, tags = sentences(5)
    file = tmp_path / f"bank.{ending}"
    if ending.lower() == "conllu":
        write_conllu(file, words, tags)
    else:
        both = zip(words, tags, strict=True)
        write_json_lines(file, [{"tokens": row, "labels": of} for row, of in both])
    found = Tagging().read_part(TaggingData(str(file)), file)
    assert list(found.y.values()) == [tags]


def test_files_with_parts_of_their_own_and_several_targets(tmp_path: Path) -> None:
    file = write_conllu(tmp_path / "train.conllu", *sentences(40))
    test = write_conllu(tmp_path / "test.conllu", *sentences(10, seed=1))
    data = TaggingData(str(file), validation=test, test=test, label=("upos", "xpos"))
    outcome = train("tag", data, tmp_path / "run", quick())
    scores = json.loads((outcome.path / "scores.json").read_text())["scores"]
    assert list(scores) == ["upos: accuracy", "upos: macro F1", "xpos: accuracy", "xpos: macro F1"]
    page = (outcome.path / "report.html").read_text()
    assert "Tagged sentences: upos" in page and "Confusion matrix: xpos" in page
    table = predict_table(Run.open(outcome.path), test)
    ending = ["prediction_upos", "probability_upos", "prediction_xpos", "probability_xpos"]
    assert table.column_names[2:] == ending
    again = Run.open(outcome.path).measure(test)
    assert [one.value for one in again.scores.metrics] == [
        one.value for one in outcome.scores.metrics
    ]


def test_a_part_with_one_label_alone(of_frames: Any) -> None:
    X = [np.zeros((4, 2), np.float32)]
    (said,) = of_frames.estimator.predict(X)
    y = {"label": [said[:1] * 4]}
    results = Tagging().measure(of_frames.estimator, Tagged(X, y, ["flat"]))
    assert results.scores.metrics[0].value == np.mean([one == said[0] for one in said])


def test_spans_decide_first(tmp_path: Path) -> None:
    file = write_conll(tmp_path / "places.conll", *places(60))
    outcome = train("tag", TaggingData(str(file)), tmp_path / "run", quick())
    names = [one.name for one in outcome.scores.metrics]
    assert names[:3] == ["span F1", "span precision", "span recall"]
    assert "span f1" in (outcome.path / "report.html").read_text()


def test_words_in_tables(tmp_path: Path) -> None:
    words, tags = sentences(20)
    rows = [
        {"s": number, "word": word, "label": tag}
        for number, pair in enumerate(zip(words, tags, strict=True))
        for word, tag in zip(*pair, strict=True)
    ]
    file = write_csv(tmp_path / "words.csv", rows)
    part = Tagging().read_part(TaggingData(str(file), tokens="word", sequence="s"), file)
    assert words == part.X and part.y == {"label": tags} and part.noun == "sentences"
    alone = Tagging().read_part(TaggingData(str(file), tokens="word"), file)
    assert [[word for row in words for word in row]] == alone.X and alone.names == ["words"]


@pytest.mark.skipif("FASTLSTM_DATA" not in os.environ, reason="needs FASTLSTM_DATA")
def test_named_sets() -> None:
    task = Tagging()
    gesture = task.read(TaggingData("gesture-phase"))
    assert gesture.noun == "recordings" and len(gesture.train) + len(gesture.test) == 7
    assert gesture.note.endswith("of 7 recordings held out for the test")
    assert gesture.train.X[0].shape[1] == 32
    assert task.read(TaggingData("gesture-phase", values="raw")).train.X[0].shape[1] == 18
    bank = task.read(TaggingData("ud-ewt", label=("upos", "feats")))
    assert [len(p) for p in (bank.train, bank.validation, bank.test)] == [12544, 2001, 2077]
    assert list(bank.train.y) == ["upos", "feats"]
    with pytest.raises(DataError, match="ud-ewt has a test part of its own: expected no file"):
        task.read(TaggingData("ud-ewt", test=Path("mine.conllu")))


WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("a.csv", "label,x\nup,1\n,2\n", {}, "row 2 has no label"),
    ("a.csv", "label,w\nup,a\nup,\n", {"tokens": "w"}, "column 'w': row 2 has no word"),
    ("a.csv", "label,x\nup,b\n", {}, "column 'x' holds 'b' in row 1: expected numbers"),
    ("a.csv", "label,x\nup,1\n", {"sequence": "who"}, "no column 'who'"),
    ("a.csv", "label,x\n", {}, "has no rows"),
    ("a.conll", "word\n", {}, "1 columns: expected a token and 1 labels"),
    ("a.jsonl", '{"tokens": ["a"]}\n', {}, "expected an object with a list 'labels'"),
    ("a.jsonl", '{"words": ["a"]}\n', {"tokens": "w"}, "expected an object with a list 'w'"),
]


@pytest.mark.parametrize(("name", "content", "options", "message"), WRONG)
def test_wrong_files(
    name: str, content: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        Tagging().read_part(TaggingData(str(file), **options), file)


def test_a_column_of_predictions_that_is_there_already(of_frames: Any, tmp_path: Path) -> None:
    rows = [{**row, "prediction": "?"} for row in frame_rows(2)]
    file = write_csv(tmp_path / "again.csv", rows)
    data = TaggingData(str(file), sequence="who", time="t", features=("x", "y"))
    with pytest.raises(DataError, match="has a column 'prediction' already: rename it"):
        Tagging().predict(of_frames.estimator, data, file)
