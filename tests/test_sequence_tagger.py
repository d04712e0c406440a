"""`SequenceTagger`: words and frames, several targets, chains of labels, the disk."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV

from fastlstm.data import DataError
from fastlstm.models import LSTMConfig, Tagger
from fastlstm.tasks import SequenceTagger, TaskError, tagging_prediction
from fastlstm.training import EpochDone, RunFolderError, TrainingConfig
from tagger_cases import NOUNS, SMALL, places, recordings, sentences


@pytest.fixture(scope="module")
def fitted() -> SequenceTagger:
    return SequenceTagger(**SMALL).fit(*sentences())


@pytest.fixture(scope="module")
def of_frames() -> SequenceTagger:
    return SequenceTagger(**SMALL).fit(*recordings())


def test_it_reads_words_in_their_place(fitted: SequenceTagger) -> None:
    X, y = sentences(seed=1)
    assert fitted.score(X, y) > 0.98
    assert fitted.classes_.tolist() == ["DET", "NOUN", "PRON", "VERB"]
    assert fitted.predict([["that", "cat", "sees", "that"]]) == [["DET", "NOUN", "VERB", "PRON"]]
    predicted, probabilities = fitted.predict(X), fitted.predict_proba(X)
    assert [len(row) for row in predicted] == [len(row) for row in X]
    for row, of_row in zip(predicted, probabilities, strict=True):
        assert np.allclose(of_row.sum(axis=1), 1)
        assert fitted.classes_[of_row.argmax(axis=1)].tolist() == row


def test_it_reads_frames_among_others(of_frames: SequenceTagger) -> None:
    X, y = recordings(seed=1)
    found = of_frames.evaluate(X, y)
    alone = np.mean(
        [((x[:, 0] > 0) == (np.array(row) == "up")).mean() for x, row in zip(X, y, strict=True)]
    )
    assert found["accuracy"] > alone + 0.03  # each frame by itself
    assert found["accuracy"] == of_frames.score(X, y)
    assert not {"unknown_word_accuracy", "span_f1"} & found.keys()
    flat = np.concatenate(y)
    _, training = recordings()
    most = max(("down", "up"), key=np.concatenate(training).tolist().count)
    assert found["baseline_accuracy"] == pytest.approx(np.mean(flat == most), abs=0.2)


def test_a_prediction_depends_on_no_other_sequence(
    fitted: SequenceTagger, of_frames: SequenceTagger
) -> None:
    for estimator, (X, _) in ((fitted, sentences(seed=2)), (of_frames, recordings(seed=2))):
        together = estimator.predict_proba(X)
        for one, of_one in zip(X[:5], together, strict=False):
            assert np.allclose(estimator.predict_proba([one])[0], of_one, atol=1e-6)


def test_figures_beside_the_most_frequent_tag() -> None:
    words = [["a", "b", "a", "c"]] * 12 + [["a", "b"]]
    tags = [["X", "Y", "Z", "Z"]] * 12 + [["X", "Y"]]
    parameters = {**SMALL, "training": TrainingConfig(epochs=1), "validation": 0.0}
    estimator = SequenceTagger(**parameters).fit(words, tags)
    X, y = [["a", "b", "new"], ["c", "other", "a"]], [["X", "Y", "Z"], ["Z", "Y", "never"]]
    found = estimator.evaluate(X, y)
    # a: X 13, Z 12 times; b: Y; c: Z; of all Z 24, Y 13, X 13 times.
    assert found["baseline_accuracy"] == pytest.approx(4 / 6)
    assert found["unseen_labels"] == pytest.approx(1 / 6)
    said = estimator.predict(X)
    right = [[s == t for s, t in zip(*rows, strict=True)] for rows in zip(said, y, strict=True)]
    assert found["accuracy"] == pytest.approx(np.mean(np.concatenate(right)))
    assert found["unknown_word_accuracy"] == np.mean([right[0][2], right[1][1]])
    assert estimator.score(X, y) == found["accuracy"]
    flat = [np.concatenate(rows) for rows in (y, said)]
    assert found["macro_f1"] == pytest.approx(f1_score(*flat, average="macro", zero_division=0.0))


def test_the_same_seed_is_the_same_estimator(fitted: SequenceTagger) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = clone(fitted).fit(*sentences())
    assert torch.equal(torch.get_rng_state(), before)
    X, _ = sentences(seed=3)
    pairs = zip(again.predict_proba(X), fitted.predict_proba(X), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)


def test_the_best_epoch_by_validation_data() -> None:
    records = []

    def keep(event: object) -> None:
        if isinstance(event, EpochDone):
            records.append(event.record)

    X, y = sentences(seed=5)
    y[0][0] = "never seen"
    estimator = SequenceTagger(**SMALL).fit(*sentences(), validation_data=(X, y), on_event=keep)
    best = max(record["validation_accuracy"] for record in records)
    assert estimator.score(X, y) == pytest.approx(best) and best < 1.0
    assert estimator.history_.best_value == best
    parameters = {**SMALL, "training": TrainingConfig(epochs=2), "validation": 0.0}
    unvalidated = SequenceTagger(**parameters).fit(*sentences())
    assert unvalidated.history_.best_epoch == 2


def test_words_held_out_for_validation_are_unknown() -> None:
    X, y = sentences()
    X = [[*words, f"word{number}"] for number, words in enumerate(X)]
    y = [[*tags, "NOUN"] for tags in y]
    parameters = {**SMALL, "training": TrainingConfig(epochs=1)}
    estimator = SequenceTagger(**parameters, min_count=1)
    known = estimator.fit(X, y)._reader.words
    assert known is not None
    assert sum(f"word{number}" in known.words for number in range(64)) == 58
    # Of each of eight speakers all sentences are on one side.
    grouped = SequenceTagger(**parameters, min_count=1)
    known = grouped.fit(X, y, groups=[number % 8 for number in range(64)])._reader.words
    assert known is not None
    assert {number % 8 for number in range(64) if f"word{number}" not in known.words} == {2}


@pytest.mark.parametrize("bidirectional", [True, False])
def test_prediction_in_stretches_and_batches(
    bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = recordings(8)
    parameters = {**SMALL, "training": TrainingConfig(epochs=1)}
    parameters["lstm"] = LSTMConfig(hidden_size=8, bidirectional=bidirectional)
    estimator = SequenceTagger(**parameters).fit(X, y)
    whole = estimator.predict_proba(X)
    monkeypatch.setattr(tagging_prediction, "STRETCH_STEPS", 7)
    monkeypatch.setattr(tagging_prediction, "BATCH_STEPS", 50)
    stretches: list[int] = []

    def count(module: torch.nn.Module, arguments: tuple) -> None:
        stretches.append(arguments[0].shape[1])

    handle = estimator.network_.lstm.register_forward_pre_hook(count)
    cut = estimator.predict_proba(X)
    handle.remove()
    assert max(stretches) == (max(map(len, X)) if bidirectional else 7)
    assert len(stretches) >= 4
    for one, other in zip(cut, whole, strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_several_targets(tmp_path: Path) -> None:
    X, y = sentences(96)
    first = [[word[0] for word in words] for words in X]
    estimator = SequenceTagger(**SMALL, target_weights={"first": 0.5})
    records = []

    def keep(event: object) -> None:
        if isinstance(event, EpochDone):
            records.append(event.record)

    estimator.fit(X, {"upos": y, "first": first}, on_event=keep)
    assert {"validation_upos_accuracy", "validation_first_accuracy"} <= records[-1].keys()
    X, y = sentences(seed=1)
    first = [[word[0] for word in words] for words in X]
    found = estimator.evaluate(X, {"upos": y, "first": first})
    assert found["upos"]["accuracy"] > 0.95 and found["first"]["accuracy"] > 0.95
    mean = np.mean([found[name]["accuracy"] for name in found])
    assert estimator.score(X, {"upos": y, "first": first}) == pytest.approx(mean)
    predicted = estimator.predict([["the", "dog"]])
    assert predicted == {"upos": [["DET", "NOUN"]], "first": [["t", "d"]]}
    assert estimator.predict_proba([["the", "dog"]])["upos"][0].shape == (2, 4)
    estimator.save(tmp_path / "model")
    assert SequenceTagger.load(tmp_path / "model").predict([["the", "dog"]]) == predicted
    with pytest.raises(TaskError, match="y has the targets upos: expected upos, first"):
        estimator.score(X, {"upos": y})


@pytest.mark.parametrize("crf", [False, True])
def test_spans_and_chains(crf: bool, tmp_path: Path) -> None:
    estimator = SequenceTagger(**SMALL, crf=crf).fit(*places())
    X, y = places(seed=1)
    found = estimator.evaluate(X, y)
    assert found["span_f1"] > 0.95 and found["baseline_span_f1"] < 0.7
    assert (
        estimator.history_.best_value
        == estimator.history_.records[estimator.history_.best_epoch - 1]["validation_span_f1"]
    )
    assert isinstance(estimator.network_, Tagger)
    assert (estimator.network_.crf_of("label") is not None) == crf
    probabilities = estimator.predict_proba(X[:3])
    assert all(np.allclose(row.sum(axis=1), 1, atol=1e-5) for row in probabilities)
    y[0][0] = "B-PER"  # not of the classes: a mistake, and no likelihood of the chain
    estimator.set_params(training=TrainingConfig(epochs=1))
    estimator.fit(*places(), validation_data=(X, y))
    assert estimator.evaluate(X, y)["span_recall"] < found["span_recall"]
    estimator.save(tmp_path / "model")
    assert SequenceTagger.load(tmp_path / "model").predict(X) == estimator.predict(X)


def test_images_as_frames(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    X, y = [], []
    for _ in range(30):
        sides = generator.integers(0, 2, 6)
        images = generator.integers(0, 50, (6, 5, 6)).astype(np.uint8)
        for image, side in zip(images, sides, strict=True):
            image[:, 3 * side : 3 * side + 3] += 100
        X.append(images)
        y.append(["left" if side == 0 else "right" for side in sides])
    estimator = SequenceTagger(**SMALL, frame_size=8).fit(X, y)
    assert estimator.score(X, y) > 0.95
    assert estimator.network_.encoder.standardise.mean.tolist() == pytest.approx([75], abs=3)
    estimator.save(tmp_path / "model")
    loaded = SequenceTagger.load(tmp_path / "model")
    assert loaded.predict(X) == estimator.predict(X)
    coloured = [np.repeat(images[:, None], 3, axis=1) for images in X]
    with pytest.raises(DataError, match="images of 3 x 5 x 6: expected images of 1 x 5 x 6, as"):
        loaded.predict(coloured)
    assert SequenceTagger(**SMALL, frame_size=8).fit(coloured, y).score(coloured, y) > 0.95


def test_long_recordings_are_cut_for_training_only() -> None:
    X, y = recordings(8, steps=200)
    parameters = {**SMALL, "training": TrainingConfig(epochs=4, batch_size=8, learning_rate=2e-2)}
    cut = SequenceTagger(**parameters, chunk_steps=25, validation=0.0).fit(X, y)
    whole = SequenceTagger(**parameters, chunk_steps=None, validation=0.0).fit(X, y)
    pieces = sum(-(-len(one) // 25) for one in X)
    assert cut.history_.records[0]["updates"] == -(-pieces // 8)
    assert whole.history_.records[0]["updates"] == 1
    assert cut.score(X, y) > 0.85
    assert [len(row) for row in cut.predict(X)] == [len(one) for one in X]


def test_truncated_back_propagation_carries_the_state() -> None:
    X, y = recordings(8, steps=200)
    training = TrainingConfig(epochs=4, batch_size=8, learning_rate=2e-2, truncate_steps=25)
    parameters = {**SMALL, "training": training, "validation": 0.0}
    onward = LSTMConfig(hidden_size=8)
    estimator = SequenceTagger(**{**parameters, "lstm": onward}).fit(X, y)
    assert estimator.history_.records[0]["updates"] == -(-max(map(len, X)) // 25)
    assert estimator.score(X, y) > 0.75
    with pytest.raises(TaskError, match="truncate_steps is 25, which carries the state on in one"):
        SequenceTagger(**parameters).fit(X, y)


def test_class_weights() -> None:
    generator = np.random.default_rng(0)
    X = [generator.normal(size=(20, 1)) for _ in range(20)]
    y = [["rare" if one < 0.1 else "common" for one in generator.random(20)] for _ in X]
    shares = []
    parameters = {**SMALL, "training": TrainingConfig(epochs=10, batch_size=4, learning_rate=3e-2)}
    for weight in (None, "balanced", {"rare": 0.0}):
        estimator = SequenceTagger(**parameters, class_weight=weight, validation=0.2).fit(X, y)
        shares.append(np.concatenate(estimator.predict_proba(X))[:, 1].mean())
        figure = "accuracy" if weight is None else "macro_f1"
        best = estimator.history_.records[estimator.history_.best_epoch - 1]
        assert estimator.history_.best_value == best[f"validation_{figure}"]
    assert shares[0] == pytest.approx(0.1, abs=0.07)
    assert shares[1] > 0.35 and shares[2] < 0.03


def test_searches() -> None:
    estimator = SequenceTagger(**{**SMALL, "training": TrainingConfig(epochs=2)})
    search = GridSearchCV(estimator, {"crf": [False, True]}, cv=2)
    assert set(search.fit(*sentences(24)).best_params_) == {"crf"}


def test_the_disk(fitted: SequenceTagger, of_frames: SequenceTagger, tmp_path: Path) -> None:
    X, y = sentences(seed=7)
    fitted.save(tmp_path / "words")
    names = sorted(path.name for path in (tmp_path / "words").iterdir())
    files = ["baseline.json", "characters.json", "config.json", "model.safetensors", "words.json"]
    assert names == files
    loaded = SequenceTagger.load(tmp_path / "words")
    assert loaded.predict(X) == fitted.predict(X)
    assert loaded.evaluate(X, y) == fitted.evaluate(X, y)
    assert loaded.get_params() == fitted.get_params()

    X, y = recordings(seed=7)
    of_frames.save(tmp_path / "frames")
    loaded = SequenceTagger.load(tmp_path / "frames")
    assert loaded.evaluate(X, y) == of_frames.evaluate(X, y)
    (tmp_path / "words" / "words.json").unlink()
    with pytest.raises(DataError, match=r"words\.json does not exist"):
        SequenceTagger.load(tmp_path / "words")
    baseline = tmp_path / "frames" / "baseline.json"
    baseline.write_text(json.dumps({"of_all": {}}))
    with pytest.raises(DataError, match=r"baseline\.json holds no baseline of a tagger"):
        SequenceTagger.load(tmp_path / "frames")


def test_a_run_folder_is_a_saved_estimator(tmp_path: Path) -> None:
    X, y = sentences()
    parameters = {**SMALL, "training": TrainingConfig(epochs=1)}
    estimator = SequenceTagger(**parameters).fit(X, y, output=tmp_path / "run")
    assert SequenceTagger.load(tmp_path / "run").predict(X) == estimator.predict(X)
    again = SequenceTagger(**parameters).fit(X, y, output=tmp_path / "run", resume=True)
    assert again.predict(X) == estimator.predict(X)
    with pytest.raises(TaskError, match="is the run of another estimator or of other data"):
        SequenceTagger(**parameters, crf=True).fit(X, y, output=tmp_path / "run", resume=True)
    with pytest.raises(RunFolderError, match="expected the folder of a training run"):
        SequenceTagger.load(tmp_path / "nothing")


def test_pretrained_vectors(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word} 1 0 2\n" for word in NOUNS))
    parameters = {**SMALL, "training": TrainingConfig(epochs=2)}
    frozen = SequenceTagger(**parameters, vectors=str(path), frozen=True, characters=None)
    X, y = sentences()
    frozen.fit(X, y)
    assert frozen._reader.words is not None
    table = frozen.network_.encoder.embedding.weight
    number = frozen._reader.words.word_ids(["Cat", "sees"])
    assert table[number[0]].tolist() == [1.0, 0.0, 2.0] and not table[number[1]].any()
    learning = SequenceTagger(**parameters, vectors=str(path)).fit(X, y)
    table = learning.network_.encoder.embedding.weight.detach()
    assert 0 < float((table[number[0]] - torch.tensor([1.0, 0.0, 2.0])).abs().max()) < 1
    assert table[number[1]].any()
