"""The real sets behind FASTLSTM_DATA: their sizes, parts and first values."""

import os
from collections import Counter

import numpy as np
import pytest

from fastlstm.data import (
    ETT_COLUMNS,
    DataError,
    Frequency,
    Scaler,
    SeriesColumns,
    Windows,
    ett_ranges,
    get_source,
    list_sources,
    load_airline,
    load_ett,
    load_gesture_phase,
    load_movie_reviews,
    load_sunspots,
    load_ud_ewt,
    read_series,
)

pytestmark = pytest.mark.skipif("FASTLSTM_DATA" not in os.environ, reason="needs FASTLSTM_DATA")


def test_every_source_is_complete():
    counts = {source.name: len(get_source(source.name)) for source in list_sources()}
    assert counts == {
        **{"airline": 1, "digits": 0, "ett": 1, "gesture-phase": 1},
        **{"mnist": 4, "movie-reviews": 2, "sunspots": 1, "ud-ewt": 3},
    }


@pytest.mark.parametrize(
    ("name", "steps", "season", "oil"),
    [("ETTh1", 17_420, 24, 30.531), ("ETTm2", 69_680, 96, 38.662)],
)
def test_ett(name, steps, season, oil):
    series = read_series(load_ett(name), SeriesColumns(targets=ETT_COLUMNS))
    assert (series.names, series.lengths.tolist()) == ([name], [steps])
    assert series.frequency.season_length == season
    assert str(series.first[0]) == "2016-07-01T00:00:00.000000"
    assert series.values["OT"][0] == pytest.approx(oil, abs=1e-3)
    train, validation, test = ett_ranges(series)
    day = season
    windows = [Windows(series, 4 * day, day, within=part) for part in (train, validation, test)]
    assert [len(part) for part in windows] == [
        *(360 * day - 5 * day + 1, 120 * day - day + 1, 120 * day - day + 1)
    ]


def test_ett_is_scaled_by_its_first_year():
    series = read_series(load_ett("ETTh1"), SeriesColumns(targets=ETT_COLUMNS))
    scaler = Scaler.fit(series, ett_ranges(series)[0], ["OT"])
    part = load_ett("ETTh1").column("OT").to_numpy()[: 360 * 24]
    assert scaler.mean["OT"] == pytest.approx(part.mean(), rel=1e-6)
    assert scaler.scale["OT"] == pytest.approx(part.std(), rel=1e-6)
    with pytest.raises(DataError, match=r"^unknown transformer 'ETTh3': expected one of ETTh1, "):
        load_ett("ETTh3")


@pytest.mark.parametrize(
    ("load", "count", "first", "last", "start"),
    [(load_airline, 144, 112, 432, "1949-01"), (load_sunspots, 2_820, 58.0, 33.4, "1749-01")],
)
def test_monthly(load, count, first, last, start):
    series = read_series(load())
    values = series.values["y"]
    assert series.frequency == Frequency.parse("MS")
    assert len(values) == count
    assert values[[0, -1]].tolist() == pytest.approx([first, last])
    assert str(series.first[0])[:7] == start


def test_movie_reviews():
    texts, labels = load_movie_reviews()
    assert Counter(labels) == {"negative": 5_331, "positive": 5_331}
    assert len(texts) == len(labels)
    assert texts[0] == "simplistic , silly and tedious ."
    assert texts[5_331].startswith("the rock is destined to be the 21st century's new")
    assert all(text and text == text.strip() for text in texts)


def test_ud_ewt():
    parts = load_ud_ewt(("upos", "feats"))
    assert [len(part) for part in parts] == [12_544, 2_001, 2_077]
    assert [part.token_count for part in parts] == [204_577, 25_147, 25_094]
    assert parts.train.tokens[0] == ["Where", "in", "the", "world", "is", "Iguazu", "?"]
    assert parts.train.labels["upos"][0] == ["ADV", "ADP", "DET", "NOUN", "AUX", "PROPN", "PUNCT"]
    assert parts.train.labels["feats"][0][:2] == ["PronType=Int", "_"]
    assert len({tag for row in parts.train.labels["upos"] for tag in row}) == 17


def test_gesture_phase():
    raw = load_gesture_phase()
    assert raw.names == ["a1", "a2", "a3", "b1", "b3", "c1", "c3"]
    assert [frames.shape for frames in raw.frames] == [
        *((1747, 18), (1264, 18), (1834, 18), (1073, 18), (1424, 18), (1111, 18), (1448, 18)),
    ]
    assert raw.features[:3] == ["lhx", "lhy", "lhz"]
    np.testing.assert_allclose(raw.frames[0][0, :3], [5.347435, 4.363681, 1.501913], rtol=1e-6)
    assert raw.frames[3][0, 0] == pytest.approx(1.197867)
    counts = Counter(label for labels in raw.labels for label in labels)
    assert counts == {
        **{"Stroke": 2_950, "Rest": 2_769, "Preparation": 2_097},
        **{"Retraction": 1_087, "Hold": 998},
    }


def test_gesture_phase_derived():
    derived = load_gesture_phase("derived")
    assert derived.frame_count == 9_873
    assert {frames.shape[1] for frames in derived.frames} == {32}
    assert {frames.dtype for frames in derived.frames} == {np.dtype(np.float32)}
    assert derived.labels[0][0] == "Rest"
    # The same phases but for frames of rest at the two ends of each recording.
    raw = Counter(label for labels in load_gesture_phase().labels for label in labels)
    found = Counter(label for labels in derived.labels for label in labels)
    assert raw - found == {"Rest": 28}
    with pytest.raises(DataError, match=r"^kind is 'both': expected 'raw' or 'derived'$"):
        load_gesture_phase("both")
