"""Sequences, labels and the batches they make."""

import re

import numpy as np
import pytest
import torch

from fastlstm.data import (
    DataError,
    LabelIndex,
    Labels,
    Sequences,
    class_weights,
    images_by_pixels,
    images_by_rows,
    pad_ids,
)

RAGGED = [np.arange(6.0).reshape(3, 2), np.ones((1, 2)), np.full((2, 2), 7)]


def fails(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


def test_ragged_batch():
    sequences = Sequences(RAGGED)
    assert (len(sequences), sequences.feature_count) == (3, 2)
    assert sequences.lengths.tolist() == [3, 1, 2]
    padded, lengths = sequences.batch([2, 0])
    assert (padded.dtype, lengths.dtype) == (torch.float32, torch.int64)
    assert padded.tolist() == [[[7, 7], [7, 7], [0, 0]], [[0, 1], [2, 3], [4, 5]]]
    assert lengths.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (np.zeros((5, 3, 2)), (3, 2)),
        (np.zeros((5, 3)), (3, 1)),
        (torch.zeros(5, 3, 2), (3, 2)),
        ([[1, 2, 3]] * 5, (3, 1)),
        ([torch.zeros(3, 2)] * 5, (3, 2)),
    ],
)
def test_forms(values, shape):
    sequences = Sequences(values)
    assert len(sequences) == 5
    assert sequences[4].shape == shape
    assert sequences[4].dtype == np.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no sequences: expected at least one"),
        (
            np.zeros(3),
            "an array of shape (3,): expected (N, T, F) or (N, T), or a list of arrays (T, F)",
        ),
        (
            [np.zeros((2, 3)), np.zeros((2, 4))],
            "sequence 1 has 4 features: expected 3, as sequence 0",
        ),
        (
            [np.zeros((2, 3)), np.zeros((0, 3))],
            "sequence 1 has shape (0, 3): expected (T, F) or (T,), none of them 0",
        ),
        (
            [np.array([[1.0], [np.nan]])],
            "sequence 0 holds nan at step 1, feature 0: expected numbers only",
        ),
    ],
)
def test_wrong_sequences(values, message):
    with fails(message):
        Sequences(values)


def test_sequence_of_words():
    with pytest.raises(DataError, match=r"^sequence 1 is no array of numbers: "):
        Sequences([[1.0], ["a"]])


def test_pad_ids():
    padded, lengths = pad_ids([[3, 4], [5]], padding=-1)
    assert padded.tolist() == [[3, 4], [5, -1]]
    assert padded.dtype == torch.int64
    assert lengths.tolist() == [2, 1]


def test_images():
    images = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)
    rows = images_by_rows(images)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[[0, 1], [0.2, 0.4]]], rtol=1e-6)
    np.testing.assert_allclose(images_by_pixels(images), [[[0], [1], [0.2], [0.4]]], rtol=1e-6)
    assert images_by_rows(images.astype(np.float64) + 0.5).max() == 255.5
    with fails("images of shape (3, 4): expected (N, rows, columns)"):
        images_by_pixels(np.zeros((3, 4)))


def test_label_index():
    index = LabelIndex.of(["b", "a", "b"])
    assert index.classes == ["a", "b"]
    assert index.ids(["b", "a"]).tolist() == [1, 0]
    assert index.labels(np.array([1, 1])) == ["b", "b"]
    assert LabelIndex.of(np.array([7, -2, 7])).classes == [-2, 7]
    assert type(LabelIndex.of(np.array([7])).classes[0]) is int
    assert LabelIndex.of([True, False]).ids([True]).tolist() == [1]
    assert LabelIndex(["z", "a"]).ids(["a"]).tolist() == [1]


def test_labels_kept_as_numbers():
    labels = Labels.of(["b", "a", "b", "c"])
    assert (list(labels), len(labels), labels[-1]) == (["b", "a", "b", "c"], 4, "c")
    assert labels.codes.dtype == np.uint8
    assert Labels(np.arange(300), range(300)).codes.dtype == np.uint16
    some = labels.select(np.array([0, 2]))
    assert (list(some), list(labels[1:3])) == (["b", "b"], ["a", "b"])
    # A class counts where it appears, however many there are elsewhere.
    assert LabelIndex.of(some).classes == ["b"]
    index = LabelIndex.of(labels)
    assert index.classes == ["a", "b", "c"]
    assert index.ids(labels).tolist() == [1, 0, 1, 2] and index.ids(labels).dtype == np.int64
    assert LabelIndex(["b"]).ids(some).tolist() == [0, 0]
    assert LabelIndex.of(Labels(np.array([1, 0]), [7, -2])).classes == [-2, 7]
    with fails("unknown label 'b': expected one of 'a'"):
        LabelIndex(["a"]).ids(some)
    with fails("labels of more than one type (int and str): expected all of one"):
        LabelIndex.of(Labels(np.array([1, 0]), [7, "a"]))
    with fails("no classes: expected at least one label"):
        Labels.of([])


def test_wrong_labels():
    with fails("unknown label 'c': expected one of 'a', 'b'"):
        LabelIndex(["a", "b"]).ids(["c"])
    with fails("unknown label True: expected one of 0, 1"):
        LabelIndex([0, 1]).ids([True])
    with fails("unknown label 12: expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (11 in all)"):
        LabelIndex(range(11)).ids([12])
    with fails("no classes: expected at least one label"):
        LabelIndex([])
    with fails("class 'a' appears twice"):
        LabelIndex(["a", "b", "a"])
    with fails("labels of more than one type (int and str): expected all of one"):
        LabelIndex.of(["a", 1])
    with fails("label 1.5 is a float: expected a string or an integer"):
        LabelIndex.of([1.5])


def test_class_weights():
    weights = class_weights(np.array([0, 0, 0, 1, 3]), 4)
    np.testing.assert_allclose(weights, [5 / 9, 5 / 3, 0, 5 / 3], rtol=1e-6)
    assert weights.dtype == np.float32
    for ids in ([], [4], [-1]):
        with fails("class weights need ids from 0 to 3, at least one of them"):
            class_weights(np.array(ids, dtype=np.int64), 4)
