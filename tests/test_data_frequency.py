"""Frequencies: found out, read and calculated with; and the calendar."""

import re

import numpy as np
import pytest

from fastlstm.data import CALENDAR, DataError, Frequency, calendar_features, usual_calendar
from fastlstm.data.frequency import infer_frequency

MINUTE = 60_000_000


def dates(*texts):
    return np.array(texts, dtype="datetime64[us]")


@pytest.mark.parametrize(
    ("text", "frequency", "shown", "season", "calendar"),
    [
        ("15min", Frequency("microseconds", 15 * MINUTE), "15 minutes", 96, 3),
        ("30T", Frequency("microseconds", 30 * MINUTE), "30 minutes", 48, 3),
        ("H", Frequency("microseconds", 60 * MINUTE), "1 hour", 24, 3),
        ("7s", Frequency("microseconds", 7_000_000), "7 seconds", 1, 3),
        ("D", Frequency("microseconds", 1440 * MINUTE), "1 day", 7, 3),
        ("B", Frequency("business days", 1), "1 business day", 5, 3),
        ("W-SUN", Frequency("microseconds", 7 * 1440 * MINUTE), "1 week", 52, 1),
        ("MS", Frequency("months", 1), "1 month", 12, 1),
        ("2mo", Frequency("months", 2), "2 months", 6, 1),
        ("ME", Frequency("months", 1, month_end=True), "1 month end", 12, 1),
        ("QS-JAN", Frequency("months", 3), "1 quarter", 4, 1),
        ("YE", Frequency("months", 12, month_end=True), "1 year end", 1, 0),
        ("2", Frequency("integers", 2), "2 steps", 1, 0),
    ],
)
def test_parse(text, frequency, shown, season, calendar):
    assert Frequency.parse(text) == frequency
    assert (str(frequency), frequency.season_length) == (shown, season)
    assert len(usual_calendar(frequency)) == calendar


@pytest.mark.parametrize("text", ["", "often", "0h", "h5", "-1", "1.5h"])
def test_parse_what_is_none(text):
    expected = f"unknown frequency {text!r}: expected such as 15min, h, D, B, W, MS, QS, YS or 1"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        Frequency.parse(text)


@pytest.mark.parametrize(
    ("text", "first", "later"),
    [
        ("h", "2024-02-28 22:30", ["2024-02-28 23:30", "2024-02-29 00:30"]),
        ("B", "2024-03-01 06:00", ["2024-03-04 06:00", "2024-03-05 06:00"]),
        ("MS", "2024-01-31 12:00", ["2024-02-29 12:00", "2024-03-31 12:00"]),
        ("MS", "2023-12-01", ["2024-01-01", "2024-02-01"]),
        ("ME", "2023-11-30", ["2023-12-31", "2024-01-31"]),
        ("QE", "2023-09-30", ["2023-12-31", "2024-03-31"]),
        ("YS", "2023-05-05", ["2024-05-05", "2025-05-05"]),
    ],
)
def test_steps_there_and_back(text, first, later):
    frequency = Frequency.parse(text)
    start = np.datetime64(first, "us")
    stamps = frequency.stamps(start, np.arange(3))
    assert stamps.tolist() == dates(first, *later).tolist()
    assert stamps.dtype == "datetime64[us]"
    many = frequency.stamps(start, np.arange(60))
    positions, exact = frequency.positions(many, start)
    assert positions.tolist() == list(range(60))
    assert exact.all()
    assert not frequency.positions(many + np.timedelta64(1, "us"), start)[1].any()


@pytest.mark.parametrize(
    ("text", "first", "other"),
    [
        ("2h", "2024-01-01 00:00", "2024-01-01 03:00"),
        ("B", "2024-03-01", "2024-03-02"),
        ("MS", "2024-01-05", "2024-02-06"),
        ("ME", "2024-01-31", "2024-02-28"),
        ("QS", "2024-01-01", "2024-03-01"),
    ],
)
def test_not_a_whole_number_of_steps(text, first, other):
    _, exact = Frequency.parse(text).positions(dates(other), np.datetime64(first, "us"))
    assert not exact[0]


@pytest.mark.parametrize("text", ["7s", "15min", "h", "D", "B", "W", "MS", "ME", "QE", "YS"])
@pytest.mark.parametrize("gaps", [False, True])
def test_infer(text, gaps):
    frequency = Frequency.parse(text)
    first = [np.datetime64("2023-12-29 06:00", "us"), np.datetime64("2023-12-31 06:00", "us")]
    if text in ("ME", "QE"):
        first[0] = np.datetime64("2023-10-31 06:00", "us")
    if text == "B":
        first[1] = np.datetime64("2024-01-02 06:00", "us")
    steps = np.delete(np.arange(31), [4, 11, 12] if gaps else [])
    stamps = np.concatenate([frequency.stamps(start, steps) for start in first])
    found = infer_frequency(stamps, np.array([0, len(steps), 2 * len(steps)]))
    assert found == frequency


def test_infer_counted_steps():
    assert infer_frequency(np.array([0, 2, 4, 8, 5]), np.array([0, 4, 5])) == Frequency(
        "integers", 2
    )
    expected = "cannot tell the frequency from series of one row: give `frequency`"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        infer_frequency(np.array([0, 2]), np.array([0, 1, 2]))


def test_days_without_a_weekend_in_reach_are_days():
    stamps = dates("2024-01-01", "2024-01-02", "2024-01-03")
    assert infer_frequency(stamps, np.array([0, 3])) == Frequency.parse("D")


def test_calendar():
    # A Monday at 6, and the first of July of a leap year at midnight, also a Monday.
    found = calendar_features(dates("2024-01-01 06:00", "2024-07-01"), CALENDAR)
    expected = {
        "hour": [0.25, 0],
        "weekday": [0.25 / 7, 0],
        "day": [0.25 / 31, 0],
        "month": [0.25 / 366, 182 / 366],
    }
    for name, shares in expected.items():
        angle = 2 * np.pi * np.array(shares)
        np.testing.assert_allclose(found[f"{name}_sin"], np.sin(angle), atol=1e-6)
        np.testing.assert_allclose(found[f"{name}_cos"], np.cos(angle), atol=1e-6)
        assert found[f"{name}_sin"].dtype == np.float32
    only = calendar_features(dates("2024-01-07"), ["weekday"])
    assert list(only) == ["weekday_sin", "weekday_cos"]


def test_wrong_calendar():
    with pytest.raises(DataError, match=r"^no calendar feature 'moon': expected some of hour, "):
        calendar_features(dates("2024-01-01"), ["moon"])
    expected = "calendar features need dates: these time stamps are integers"
    with pytest.raises(DataError, match=f"^{expected}$"):
        calendar_features(np.arange(3), ["hour"])
    assert calendar_features(np.arange(3), []) == {}
