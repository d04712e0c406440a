"""The parts of a tagger: spans, pieces of sequences, words as numbers, batches, the loss."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from fastlstm.data import DataError
from fastlstm.models import LSTMConfig, Tagger, TaggerConfig, VectorConfig
from fastlstm.tasks import TaskError
from fastlstm.tasks.tagging import TaggedBatch, TaggedExamples, TaggingObjective
from fastlstm.tasks.tagging_spans import SpanCounts, count_spans, marks_spans, spans_of
from fastlstm.tasks.tagging_steps import Frames, Piece, hold_out, pieces_of
from fastlstm.tasks.tagging_words import WordNumbers, Words


@pytest.mark.parametrize(
    ("labels", "spans"),
    [
        ("B-A I-A O B-B", {(0, 2, "A"), (3, 4, "B")}),
        ("B-A B-A I-A", {(0, 1, "A"), (1, 3, "A")}),
        ("I-A I-A O I-B", {(0, 2, "A"), (3, 4, "B")}),  # IOB1 begins spans with I
        ("B-A I-B I-B", {(0, 1, "A"), (1, 3, "B")}),
        ("B-A I-A E-A S-A O", {(0, 3, "A"), (3, 4, "A")}),
        ("B-A L-A U-B I-B", {(0, 2, "A"), (2, 3, "B"), (3, 4, "B")}),
        ("O O", set()),
        ("B-A-B other I-A", {(0, 1, "A-B"), (2, 3, "A")}),
    ],
)
def test_spans(labels: str, spans: set[tuple[int, int, str]]) -> None:
    assert spans_of(labels.split()) == spans


def test_counts_of_spans() -> None:
    counts = count_spans(["B-A", "I-A", "O", "B-B", "B-A"], ["B-A", "I-A", "B-B", "B-B", "I-B"])
    assert counts == SpanCounts(hits=1, said=3, true=3)
    counts.add(SpanCounts(1, 1, 2))
    assert counts.figures() == {"span_precision": 0.5, "span_recall": 0.4, "span_f1": 4 / 9}
    assert set(SpanCounts().figures().values()) == {0.0}


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["B-A", "I-A", "O"], True),
        (["I-A", "O"], True),
        (["S-A", "O"], False),  # so named by chance, perhaps
        (["B-A", "NOUN"], False),
        (["O"], False),
        ([0, 1], False),
    ],
)
def test_which_labels_mark_spans(classes: list[Any], expected: bool) -> None:
    assert marks_spans(classes) == expected


def test_pieces() -> None:
    assert pieces_of([5, 11], [1, 0], None) == [(1, 0, 11), (0, 0, 5)]
    assert pieces_of([5, 11], [0, 1], 4) == [
        *((0, 0, 2), (0, 2, 5)),
        *((1, 0, 3), (1, 3, 7), (1, 7, 11)),
    ]


def test_what_is_held_out() -> None:
    lengths = [30] * 40
    kept, held_out = hold_out(lengths, 10, 0.1, None)
    assert (len(kept), len(held_out)) == (36 * 3, 4)  # whole sequences
    assert not {piece.sequence for piece in kept} & {piece.sequence for piece in held_out}
    kept, held_out = hold_out(lengths[:6], 10, 0.1, None)
    assert (len(kept), len(held_out)) == (16, 2)  # of few sequences pieces
    assert all(stop - start == 10 for _, start, stop in held_out)
    kept, held_out = hold_out(lengths[:6], 10, 0.5, ["a", "b"] * 3)
    assert {piece.sequence % 2 for piece in kept} != {piece.sequence % 2 for piece in held_out}
    assert len(held_out) == 3
    assert hold_out([5, 6], None, 0.0, None) == ([(0, 0, 5), (1, 0, 6)], [])
    with pytest.raises(TaskError, match="1 sequence of 5 steps: a share of it cannot be held out"):
        hold_out([5], 10, 0.1, None)
    with pytest.raises(DataError, match="cannot split 1 group"):
        hold_out([5, 5], 10, 0.1, ["a", "a"])


def test_words_in_numbers() -> None:
    numbers = WordNumbers.learn([["The", "the", "CAT"], ["cat", "dog"]], 2, True, True)
    assert numbers.words.tokens[2:] == ["cat", "the"]
    assert numbers.word_ids(["CAT", "dog"]) == [2, 1]
    assert numbers.characters is not None
    assert numbers.character_ids("te") != numbers.character_ids("Te")  # one T is an unknown one
    long = "t" * 20 + "x" * 50 + "e" * 20
    known_t, known_e = numbers.characters.ids("te")
    assert numbers.character_ids(long) == [known_t] * 16 + [known_e] * 16
    batch = Words([["the"], ["cat", "the", "x"]], numbers).batch([Piece(1, 1, 3), Piece(0, 0, 1)])
    assert batch.inputs.tolist() == [[3, 1], [3, 0]] and batch.lengths.tolist() == [2, 1]
    assert batch.characters is not None and batch.characters.shape == (2, 2, 3)
    assert batch.characters[0, 1].tolist() == [1, 0, 0] and not batch.characters[1, 1].any()
    cased = WordNumbers.learn([["The", "the", "The"]], 2, False, False)
    assert cased.words.tokens[2:] == ["The"] and cased.characters is None


def test_frames_in_batches() -> None:
    frames = Frames([np.arange(6.0).reshape(3, 2), np.ones((2, 2))])
    mean, std = frames.statistics([Piece(0, 0, 2), Piece(1, 0, 2)])
    assert mean.tolist() == [1.0, 1.5] and std.tolist() == pytest.approx([0.7071, 0.8660], abs=1e-4)
    batch = frames.batch([Piece(0, 1, 3), Piece(1, 0, 1)])
    assert batch.inputs.tolist() == [[[2, 3], [4, 5]], [[1, 1], [0, 0]]]
    images = Frames([np.full((2, 3, 4), 9, np.uint8)])
    assert images.kind == "images" and images.shape == (1, 3, 4)
    assert images.batch([Piece(0, 0, 1)]).inputs.dtype == torch.uint8


def make_objective(
    crf: tuple[str, ...] = (), **parameters: Any
) -> tuple[TaggingObjective, TaggedBatch]:
    torch.manual_seed(0)
    config = TaggerConfig(
        {"one": 3, "two": 2}, vectors=VectorConfig(2), lstm=LSTMConfig(hidden_size=5), crf=crf
    )
    given = {"class_weights": {}, "target_weights": {"one": 1.0, "two": 0.5}, **parameters}
    objective = TaggingObjective(Tagger(config), {"one": [*"abc"], "two": [*"xy"]}, **given)
    ids = {"one": [np.array([0, 1, 2, 9]), np.array([1, 1])], "two": [np.arange(4) % 2] * 2}
    steps = Frames([np.random.default_rng(0).normal(size=(size, 2)) for size in (4, 2)])
    ids["two"][1] = np.array([0, 1])
    pieces = pieces_of([4, 2], [0, 1], None)
    return objective, TaggedExamples(steps, ids, {"one": 3, "two": 2}, pieces).batch([0, 1])


def test_the_loss_is_that_of_the_live_steps() -> None:
    weights = {"one": np.array([1.0, 2.0, 3.0], np.float32)}
    objective, batch = make_objective(class_weights=weights)
    assert batch.ids["one"].tolist() == [[0, 1, 2, -1], [1, 1, -1, -1]]
    loss = objective.loss(batch, None)
    scores = objective.network(batch.inputs, batch.lengths)
    one = torch.cat((scores["one"][0, :3], scores["one"][1, :2]))
    two = torch.cat((scores["two"][0], scores["two"][1, :2]))
    of_one = cross_entropy(
        one, torch.tensor([0, 1, 2, 1, 1]), torch.tensor([1.0, 2.0, 3.0]), reduction="sum"
    )
    of_two = cross_entropy(two, torch.tensor([0, 1, 0, 1, 0, 1]), reduction="sum")
    torch.testing.assert_close(loss.total, of_one + 0.5 * of_two)
    assert loss.weight == 6.0 and objective.metric.name == "macro_f1"


def test_stretches_carry_the_state() -> None:
    objective, batch = make_objective()
    whole = objective.loss(batch, None)
    state, total, weight = None, 0.0, 0.0
    stretches = objective.stretches(batch, 3)
    assert [part.lengths.tolist() for part in stretches] == [[3, 2], [1, 0]]
    for part in stretches:
        loss = objective.loss(part, state)
        state, total, weight = loss.state, total + loss.total.item(), weight + loss.weight
    assert total == pytest.approx(whole.total.item(), rel=1e-6) and weight == whole.weight


def test_figures_count_what_was_said() -> None:
    objective, batch = make_objective()
    with torch.no_grad():
        scores = objective.network(batch.inputs, batch.lengths)
        figures = objective.figures(objective.evaluate([batch]))
    said = objective.network.decode(scores, batch.lengths)
    right = [(said[name] == ids)[ids >= 0].sum() for name, ids in batch.ids.items()]
    assert figures["one_accuracy"] == int(right[0]) / 6  # what training never saw is a mistake
    assert figures["two_accuracy"] == int(right[1]) / 6
    assert figures["accuracy"] == pytest.approx(int(right[0] + right[1]) / 12)
    assert figures.keys() == {"accuracy", "loss", "one_accuracy", "two_accuracy"}


def test_a_chain_with_a_label_of_no_class_has_no_likelihood() -> None:
    objective, batch = make_objective(crf=("one",))
    network = objective.network
    with torch.no_grad():
        sums = objective.evaluate([batch])
        scores = network(batch.inputs, batch.lengths)
        second = {"one": batch.ids["one"].clamp(min=0)}
        expected = -network.log_likelihood(scores, second, batch.lengths)["one"][1]
    assert sums["one loss"].total == pytest.approx(float(expected))
    assert sums["one loss"].count == 6
