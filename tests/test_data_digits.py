"""The digits inside scikit-learn: a fixed split that keeps the share of every class."""

import torch

from fastlstm.data import load_digits


def test_shapes_types_and_range():
    dataset = load_digits()
    for part, count in ((dataset.train, 1_293), (dataset.validation, 144), (dataset.test, 360)):
        images, labels = part.tensors
        assert images.shape == (count, 8, 8)
        assert images.dtype == torch.uint8
        assert images.max() == 16
        assert labels.shape == (count,)
        assert labels.dtype == torch.int64
    assert (dataset.rows, dataset.columns, dataset.num_classes) == (8, 8, 10)


def test_every_class_has_its_share_of_each_part():
    dataset = load_digits()
    parts = (dataset.train, dataset.validation, dataset.test)
    counts = torch.stack([part.tensors[1].bincount(minlength=10) for part in parts])
    shares = counts / counts.sum(dim=1, keepdim=True)
    assert (shares - shares[0]).abs().max() < 0.01


def test_split_is_the_same_every_time():
    torch.testing.assert_close(load_digits().test.tensors, load_digits().test.tensors)
