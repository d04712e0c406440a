"""Figures, ticks, drawings and pictures of the report, by value."""

import io
import re

import numpy as np
import pytest
from matplotlib import image

from fastlstm.report import ReportError, formats
from fastlstm.report.axes import linear_axis, time_axis, value_axis, whole_axis
from fastlstm.report.charts import Band, Chart, Line, Mark, draw, figure
from fastlstm.report.png import data_address, encode_png

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.073125, "0.07312"),
        (1.0, "1.000"),
        (-12.345, "−12.35"),
        (1234.6, "1,235"),
        (54321.0, "54,321"),
        (2.5e8, "2.500e+08"),
        (0.000012, "1.200e-05"),
        (NAN, "–"),
        (None, "–"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
    ],
)
def test_figures(value: float | None, text: str) -> None:
    assert formats.figure(value) == text


def test_shares_and_differences() -> None:
    assert formats.figure(0.98714, percent=True) == "98.71\u00a0%"
    assert formats.figure(-0.5, percent=True) == "−50.00\u00a0%"
    assert formats.difference(0.9, 0.875, percent=True) == "+2.50\u00a0points"
    assert formats.difference(0.1942, 0.2531) == "−0.0589 (−23\u00a0%)"
    assert formats.difference(0.3611, 0.3594) == "+0.00170 (+0.5\u00a0%)"
    assert formats.difference(-1.0, -3.0) == "+2.00"
    assert formats.difference(1.0, 0.0) == "+1.00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7_799, "2 h 10 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert formats.duration(seconds).replace("\u00a0", " ") == text


def test_counts() -> None:
    assert formats.count(1, "epoch") == "1\u00a0epoch"
    assert formats.count(1200, "epoch") == "1,200\u00a0epochs"
    assert formats.count(2, "class", "classes") == "2\u00a0classes"


@pytest.mark.parametrize(
    ("values", "percent", "labels"),
    [
        ([0, 0.5, 1], False, ["0", "0.5", "1.0"]),
        ([-2000, 0, 2000], False, ["−2,000", "0", "2,000"]),
        ([0, 5_000, 10_000], False, ["0", "5k", "10k"]),
        ([0, 2.5e6, 5e6], False, ["0", "2.5M", "5.0M"]),
        ([1e9, 2e10], False, ["1G", "20G"]),
        ([3e12, 4e12], False, ["3T", "4T"]),
        ([0, 1e-7, 2e-7], False, ["0", "1e-07", "2e-07"]),
        ([0.975, 0.98, 0.985], True, ["97.5%", "98.0%", "98.5%"]),
        ([0, 0.5], True, ["0%", "50%"]),
        ([0.001], False, ["0.001"]),
    ],
)
def test_tick_labels(values: list[float], percent: bool, labels: list[str]) -> None:
    assert formats.tick_labels(values, percent=percent) == labels


def labels_of(axis) -> list[str]:
    return [f"{tick.label} {tick.context}".strip() for tick in axis.ticks]


def test_linear_axis_ends_on_ticks_or_on_the_values() -> None:
    axis = linear_axis([0.13, NAN, 4.2, np.inf], 5)
    assert (axis.low, axis.high) == (0, 5)
    assert labels_of(axis) == ["0", "1", "2", "3", "4", "5"]
    np.testing.assert_allclose(axis.place([0, 2.5, 5]), [0, 0.5, 1])
    tight = linear_axis([0.13, 4.2], 5, loose=False)
    assert (tight.low, tight.high) == (0.13, 4.2)
    assert labels_of(tight) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0, 1e-30])
def test_axis_of_one_value_has_it_inside(value: float) -> None:
    axis = linear_axis([value, value], 5)
    assert axis.low < value < axis.high
    assert 2 <= len(axis.ticks) <= 8


def test_an_axis_without_a_finite_value_is_an_error() -> None:
    with pytest.raises(ReportError) as error:
        linear_axis([NAN, np.inf], 5)
    assert str(error.value) == "expected a finite value to draw, got none in 2"


def test_whole_axis_has_whole_ticks() -> None:
    assert labels_of(whole_axis([1, 2, 3], 8)) == ["1", "2", "3"]
    assert labels_of(whole_axis(range(1, 41), 9)) == ["5", "10", "15", "20", "25", "30", "35", "40"]


def test_value_axis_is_logarithmic_over_a_wide_range() -> None:
    axis = value_axis([2.1, 0.011], 5)
    assert axis.logarithmic
    assert labels_of(axis) == ["0.03", "0.1", "0.3", "1"]
    np.testing.assert_allclose(axis.place([0.011, (2.1 * 0.011) ** 0.5, 2.1]), [0, 0.5, 1])
    assert not value_axis([2.1, 0.0], 5).logarithmic
    assert not value_axis([2.1, 0.1], 5).logarithmic
    assert not value_axis([1.0, 0.001], 5, percent=True).logarithmic
    assert len(value_axis([1e-30, 1e30], 5).ticks) <= 7


@pytest.mark.parametrize(
    ("start", "end", "labels"),
    [
        (
            "2018-01-05T18:00",
            "2018-01-06T06:00",
            ["18:00 5 Jan 2018", "21:00", "00:00 6 Jan 2018", "03:00", "06:00"],
        ),
        (
            "2018-01-05T21:00",
            "2018-01-06T10:00",
            ["21:00", "00:00 6 Jan 2018", "03:00", "06:00", "09:00"],
        ),
        ("2017-12-28", "2018-01-03", ["28 Dec 2017", "30 Dec", "1 Jan 2018", "3 Jan"]),
        ("2016-07-01", "2018-06-26", ["Jul 2016", "Jan 2017", "Jul", "Jan 2018"]),
        ("1949-01", "1960-12", ["1950", "1952", "1954", "1956", "1958", "1960"]),
        (
            "2020-02-01T00:00:00",
            "2020-02-01T00:00:20",
            ["00:00 1 Feb 2020", "00:00:05", "00:00:10", "00:00:15", "00:00:20"],
        ),
    ],
)
def test_time_axis(start: str, end: str, labels: list[str]) -> None:
    axis = time_axis(np.array([start, end, "NaT"], dtype="datetime64"), 6)
    assert labels_of(axis) == labels
    assert 0 <= axis.place(axis.ticks[0].value) <= axis.place(axis.ticks[-1].value) <= 1


def test_one_time_stands_in_the_middle_of_its_day() -> None:
    axis = time_axis(np.array(["2020-02-01T06"], dtype="datetime64[h]"), 4)
    assert axis.high - axis.low == 86_400
    assert labels_of(axis) == ["00:00 1 Feb 2020", "12:00"]


def test_times_that_no_date_can_hold_are_an_error() -> None:
    with pytest.raises(ReportError) as error:
        time_axis(np.array(["2020", "NaT", "12000"], dtype="datetime64[Y]"), 4)
    assert str(error.value) == "expected times in the years 1 to 9999, got 12000"


def test_years_by_the_thousand() -> None:
    axis = time_axis(np.array(["0001", "9999"], dtype="datetime64[Y]"), 5)
    assert labels_of(axis) == ["2000", "4000", "6000", "8000"]


def test_time_axis_over_any_span_has_no_more_ticks_than_asked_for() -> None:
    start = np.datetime64("2001-03-04T05:06:07", "us")
    for exponent in range(0, 42):
        times = start + np.array([0, int(1e3 * 1.9**exponent)], dtype="timedelta64[us]")
        for count in (2, 5, 12):
            assert len(time_axis(times, count).ticks) <= count + 1, times


def chart(values: list[float], **more) -> Chart:
    given = np.array(values)
    return Chart("what is seen", [Line("a", "first", given, np.arange(len(values)))], **more)


def paths(drawing: str, kind: str = "line first") -> list[str]:
    return re.findall(rf'<path class="{kind}" d="([^"]*)"', drawing)


def test_a_line_goes_through_its_points_and_leaves_gaps() -> None:
    (path,) = paths(draw(chart([0, 10, NAN, 5, 0, NAN, 10]), 300, 200))
    assert path.count("M") == 3
    assert path.count("L") == 2
    points = [tuple(map(float, point.split())) for point in re.findall(r"[\d.]+ [\d.]+", path)]
    x, y = zip(*points, strict=True)
    assert list(x) == sorted(x)
    low, high = max(y), min(y)  # downwards, as SVG counts
    assert [y[0], y[1], y[3], y[4]] == [low, high, low, high]
    assert y[2] == pytest.approx((low + high) / 2)
    assert x[1] - x[0] == pytest.approx((x[-1] - x[0]) / 6, abs=0.1)


def test_a_point_alone_is_a_dot() -> None:
    assert draw(chart([NAN, 3, NAN, 5, 6]), 300, 200).count('<circle class="dot first"') == 1
    assert draw(chart([3.0]), 300, 200).count("<circle") == 1


def test_many_points_keep_their_extremes() -> None:
    values = np.sin(np.arange(100_000) / 3)
    values[55_555], values[55_556] = 9.0, -9.0
    values[70_000:80_000] = NAN
    (path,) = paths(draw(chart(values.tolist()), 300, 200))
    assert len(path) < 20_000
    assert path.count("M") == 2
    heights = [float(height) for height in re.findall(r" ([\d.]+)", path)]
    plain = [float(h) for h in re.findall(r" ([\d.]+)", paths(draw(chart([9, -9]), 300, 200))[0])]
    assert (min(heights), max(heights)) == (min(plain), max(plain))


def test_a_band_encloses_its_edges() -> None:
    places = np.arange(3)
    band = Band("80 %", "wide", np.array([1.0, 2, 3]), np.array([2.0, 4, 6]), places)
    (path,) = paths(draw(chart([1.5, 3, 4.5], bands=[band]), 300, 200), "band wide")
    assert (path.count("M"), path.count("L"), path.count("Z")) == (1, 5, 1)
    heights = [float(height) for height in re.findall(r" ([\d.]+)", path)]
    upper, lower = heights[:3], heights[:2:-1]
    assert all(one < other for one, other in zip(upper, lower, strict=True))


def test_marks_rings_and_words() -> None:
    drawing = draw(chart([1, 2, 3], marks=[Mark(1, "best <", 2.0)], x_label="epoch"), 300, 200)
    assert "<title>what is seen</title>" in drawing
    assert ">best &lt;</text>" in drawing
    assert drawing.count('class="ring"') == 1
    assert ">epoch</text>" in drawing


def test_a_figure_is_drawn_for_both_screens_with_a_legend() -> None:
    made = figure([("Title", chart([1, 2, 90]))])
    assert made.count("<svg") == 2
    assert "<h3>Title</h3>" in made
    assert '<i class="key line first"></i>a</li>' in made
    assert made.count("logarithmic scale") == 1
    assert "logarithmic scale" not in figure([chart([1, 2, 3])])


def test_values_without_places_are_an_error() -> None:
    with pytest.raises(ReportError) as error:
        Chart("", [Line("loss", "first", np.zeros(3), np.zeros(4))])
    assert str(error.value) == (
        "loss: expected a value at each place, got values of shape (3,) at places of shape (4,)"
    )


@pytest.mark.parametrize("shape", [(5, 7), (3, 11, 3), (1, 1)])
def test_png_holds_the_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    decoded = image.imread(io.BytesIO(encode_png(pixels)), format="png")
    np.testing.assert_array_equal(np.round(decoded * 255).astype(np.uint8), pixels)
    assert data_address(pixels).startswith("data:image/png;base64,iVBORw0KGgo")


EXPECTED = "expected a picture of shape (height, width) or (height, width, 3) and dtype uint8"


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 4)), f"{EXPECTED}, got shape (3, 4) and dtype float64"),
        (np.zeros((3, 4, 4), np.uint8), f"{EXPECTED}, got shape (3, 4, 4) and dtype uint8"),
        (np.zeros((0, 4), np.uint8), "expected a picture with pixels, got shape (0, 4)"),
    ],
)
def test_what_is_no_picture_is_an_error(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(ReportError) as error:
        encode_png(pixels)
    assert str(error.value) == message
