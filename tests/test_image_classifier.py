"""The row-by-row image classifier."""

import pytest
import torch

from fastlstm.models import ImageRowClassifier


def test_scores_each_class_from_raw_pixels():
    model = ImageRowClassifier(input_size=5, hidden_size=7, num_classes=3)
    images = torch.randint(0, 256, (6, 4, 5), dtype=torch.uint8)
    logits = model(images)
    assert logits.shape == (6, 3)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(model(images.float()), logits)


def test_is_an_lstm_over_the_rows_and_a_linear_map_of_its_last_state():
    model = ImageRowClassifier(input_size=5, hidden_size=7, num_classes=3)
    images = torch.rand(6, 4, 5)
    outputs, _ = model.lstm(images)
    torch.testing.assert_close(model(images), model.head(outputs[:, -1]))


def test_standardises_with_the_training_pixels():
    model = ImageRowClassifier(input_size=5, hidden_size=7, num_classes=3)
    images = torch.randint(0, 256, (60, 4, 5), dtype=torch.uint8)
    model.standardise_with(images)
    standardised = (images.double() - images.double().mean()) / images.double().std()
    logits = model(images)
    assert not torch.allclose(logits, model(images + images))
    model.standardise_with(torch.tensor([-1.0, 1.0]) / 2**0.5)
    torch.testing.assert_close(model(standardised.float()), logits)


def test_images_of_one_shade_have_finite_scores():
    model = ImageRowClassifier(input_size=5, hidden_size=7, num_classes=3)
    images = torch.full((6, 4, 5), 9, dtype=torch.uint8)
    model.standardise_with(images)
    assert model(images).isfinite().all()


def test_pixel_statistics_travel_with_the_weights():
    model = ImageRowClassifier(input_size=5, hidden_size=7, num_classes=3)
    images = torch.randint(0, 256, (6, 4, 5), dtype=torch.uint8)
    model.standardise_with(images)
    other = ImageRowClassifier(input_size=5, hidden_size=7, num_classes=3)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images), model(images))


def test_forget_gate_begins_open():
    model = ImageRowClassifier(input_size=5, hidden_size=7, num_classes=3)
    bias = model.lstm.bias_ih_l0 + model.lstm.bias_hh_l0
    assert bias[7:14].tolist() == pytest.approx([1.0] * 7)
