"""The units of a window: values by hand, missing values, windows without a spread."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fastlstm.models.windows import window_units

NAN = float("nan")


def units(kind: Any, *values: float) -> tuple[float, float]:
    location, scale = window_units(kind, torch.tensor(values, dtype=torch.float64)[None, :, None])
    assert location.shape == scale.shape == (1, 1, 1)
    return location.item(), scale.item()


@pytest.mark.parametrize(
    ("kind", "location", "scale"),
    [("none", 0, 1), ("standard", 4, 2), ("last", 6, 2), ("scale", 0, 4)],
)
@pytest.mark.parametrize("missing", [[], [NAN]])
def test_units_by_hand(kind: str, location: float, scale: float, missing: list[float]) -> None:
    assert units(kind, 2, *missing, 2, 6, *missing, 6, *missing) == (location, scale)


def test_scale_is_of_the_size() -> None:
    assert units("scale", -3, 1) == (0, 2)


@pytest.mark.parametrize("kind", ["none", "standard", "last", "scale"])
def test_a_window_without_values_has_the_datas_units(kind: str) -> None:
    assert units(kind, NAN, NAN) == (0, 1)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("standard", 0.0, (0, 1)),
        ("standard", 0.5, (0.5, 1)),
        ("standard", -400.0, (-400, 400)),
        ("last", -400.0, (-400, 400)),
        ("scale", 0.0, (0, 1)),
        ("scale", 0.25, (0, 0.25)),
    ],
)
def test_a_window_without_a_spread_is_measured_in_its_size(
    kind: str, value: float, expected: tuple[float, float]
) -> None:
    assert units(kind, value, value, value) == expected


def test_rounding_is_no_spread() -> None:
    values = torch.full((1, 300, 1), 1e6 + 0.1)
    values[:, ::2] = torch.nextafter(values[:, ::2], torch.tensor(2e6))
    location, scale = window_units("standard", values)
    assert scale.item() == pytest.approx(1e6, rel=1e-3)
    assert ((values - location) / scale).abs().max() < 1e-5


def test_each_channel_of_each_row_by_itself() -> None:
    values = torch.randn(4, 9, 3, dtype=torch.float64) * 7 + 5
    values[1, 8, 2] = NAN
    for kind in ("standard", "last", "scale"):
        location, scale = window_units(kind, values)
        for row in range(4):
            for channel in range(3):
                alone = units(kind, *values[row, :, channel].tolist())
                found = location[row, 0, channel].item(), scale[row, 0, channel].item()
                assert found == pytest.approx(alone)
    last: Tensor = window_units("last", values)[0]
    assert last[1, 0, 2] == values[1, 7, 2] and last[0, 0, 0] == values[0, 8, 0]
