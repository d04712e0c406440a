"""What each section of a report shows, and what it refuses."""

import re

import numpy as np
import pytest

from fastlstm.report import (
    AttendedSentence,
    Confusion,
    Forecast,
    HorizonErrors,
    LabelScores,
    LearningCurves,
    Metric,
    Mistake,
    Recording,
    Scores,
    TaggedSentence,
    attention,
    configuration,
    confusion_matrix,
    forecasts,
    horizon_errors,
    label_scores,
    learning_curves,
    metric_table,
    recordings,
    tagged_sentences,
    worst_mistakes,
)
from fastlstm.report.section import bar

NAN = float("nan")


def text(body: str) -> str:
    """What a reader reads: without elements, spaces as one."""
    return " ".join(re.sub(r"<[^>]*>", " ", body).replace("\u00a0", " ").split())


def cells(body: str) -> list[list[str]]:
    """The rows of the body's tables, head rows too."""
    rows = re.findall(r"<tr>(.*?)</tr>", body)
    return [[text(cell) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row)] for row in rows]


@pytest.mark.parametrize(
    ("metric", "verdict", "change"),
    [
        (Metric("accuracy", 0.9, 0.8, percent=True), "better", "▲ +10.00 points, better"),
        (Metric("accuracy", 0.7, 0.8, percent=True), "worse", "▼ −10.00 points, worse"),
        (Metric("MSE", 0.5, 1.0, better="lower"), "better", "▼ −0.500 (−50 %), better"),
        (Metric("MSE", 2.0, 1.0, better="lower"), "worse", "▲ +1.00 (+100 %), worse"),
        (Metric("F1", 0.5, 0.5), "equal", "= equal"),
        (Metric("F1", 0.5), "unknown", "–"),
        (Metric("F1", NAN, 0.5), "unknown", "–"),
        (Metric("F1", 0.5, NAN), "unknown", "–"),
    ],
)
def test_a_metric_beside_its_baseline(metric: Metric, verdict: str, change: str) -> None:
    assert metric.verdict() == verdict
    assert metric.change().replace("\u00a0", " ") == change


def test_metric_table() -> None:
    section = metric_table(Scores([Metric("a", 0.5, 0.25), Metric("b", 2.0)], "naive"))
    assert cells(section.body) == [
        ["metric", "this model", "naive", "difference"],
        ["a", "0.5000", "0.2500", "▲ +0.250 (+100 %), better"],
        ["b", "2.000", "–", "–"],
    ]
    alone = metric_table(Scores([Metric("a", 0.5)]))
    assert cells(alone.body) == [["metric", "this model"], ["a", "0.5000"]]


def test_learning_curves() -> None:
    metrics = {"validation": [0.1, 0.9, 0.5]}
    section = learning_curves(
        LearningCurves([1, 2, 3], {"training": [3, 2, 1]}, 2, "accuracy", metrics)
    )
    assert section.note.replace("\u00a0", " ") == "3 epochs; the weights of epoch 2 were kept."
    assert section.body.count("<figure") == 2
    assert "<h3>Accuracy</h3>" in section.body
    assert section.body.count(">best</text>") == 4
    title = "loss over 3 epochs: training from 3.000 to 1.000; best epoch 2"
    assert f"<title>{title}</title>" in section.body
    only_loss = learning_curves(LearningCurves([1], {"training": [3]}, 1))
    assert only_loss.body.count("<figure") == 1


def test_a_best_epoch_without_a_value_has_no_ring() -> None:
    section = learning_curves(LearningCurves([1, 2], {"training": [1, NAN]}, 2))
    assert "ring" not in section.body
    assert ">best</text>" in section.body


def test_confusion_matrix() -> None:
    counts = np.array([[8, 2, 0], [0, 5, 0], [4, 0, 1]])
    body = confusion_matrix(Confusion(["a", "b", "c"], counts)).body
    matrix, most = body.split("<h3>")
    assert cells(matrix) == [
        ["predicted → actual ↓", "a", "b", "c"],
        ["a", "8", "2", "·"],
        ["b", "·", "5", "·"],
        ["c", "4", "·", "1"],
    ]
    assert cells(most) == [
        ["actual", "taken for", "times", "of the actual"],
        ["c", "a", "4", "80.00 %"],
        ["a", "b", "2", "20.00 %"],
    ]
    # Right cells by their share of the row; wrong ones beside the most frequent mistake.
    assert re.findall(r'class="(\w+)" style="--depth: ([\d.]+)"', matrix) == [
        ("right", "0.800"),
        ("wrong", "0.250"),
        ("right", "1.000"),
        ("wrong", "1.000"),
        ("right", "0.200"),
    ]


def test_confusion_matrix_of_many_classes_shows_those_with_most_mistakes() -> None:
    counts = np.eye(25, dtype=int) * 3
    counts[24, 3] = 7
    body = confusion_matrix(Confusion([f"class {k}" for k in range(25)], counts)).body
    heads = cells(body.split("<h3>")[0])[0][1:]
    assert len(heads) == 20
    assert {"class 3", "class 24"} <= set(heads)
    assert heads == sorted(heads, key=lambda name: int(name.split()[1]))
    assert "5 classes with fewer mistakes not shown, of 25 in all." in text(body)


def test_confusion_matrix_without_mistakes_and_without_examples() -> None:
    body = confusion_matrix(Confusion(["a", "b"], np.array([[3, 0], [0, 0]]))).body
    assert "No example was taken for another class." in body
    assert "nan" not in body


def test_rarer_confusions_are_counted() -> None:
    body = confusion_matrix(Confusion(list("abcd"), np.ones((4, 4), dtype=int))).body
    assert "2 rarer confusions not shown, of 12 in all." in text(body)


def test_label_scores_are_sorted_and_counted() -> None:
    many = LabelScores([str(k) for k in range(60)], [0.5] * 60, [NAN] * 60, [1.0] * 60, range(60))
    body = label_scores(many).body
    rows = cells(body)
    assert rows[1] == ["59", "50.00 %", "–", "100.00 %", "59"]
    assert len(rows) == 51
    assert text(body).endswith("10 rarer labels not shown, of 60 in all.")


@pytest.mark.parametrize(("share", "width"), [(0.5, 50), (0, 0), (NAN, 0), (1.5, 100), (-1, 0)])
def test_bars(share: float, width: int) -> None:
    assert f'style="width: {width:.1f}%"' in bar(share, "x")


def test_worst_mistakes_are_the_surest() -> None:
    mistakes = [Mistake(f"text {k}", "good", "bad", k / 40) for k in range(30)]
    section = worst_mistakes(mistakes, 31, 100)
    shown = re.findall(r"text (\d+)<", section.body)
    assert shown == [str(k) for k in range(29, 5, -1)]
    assert "✗ bad 72.50 % ✓ good" in text(section.body)
    assert text(section.body).endswith("7 mistakes not shown, of 31 in all.")
    assert section.note.replace("\u00a0", " ").startswith("31 mistakes in 100 examples;")


def test_mistakes_of_every_kind_of_example() -> None:
    picture = np.zeros((8, 8), np.uint8)
    photograph = np.zeros((80, 90, 3), np.uint8)
    series = np.random.default_rng(0).normal(size=(50, 5))
    mistakes = [Mistake(one, "a", "b", 0.9) for one in (picture, photograph, series, "x " * 400)]
    body = worst_mistakes(mistakes, 4, 4).body
    assert body.count('alt="a, taken for b"') == 2
    assert body.count('class="pixels"') == 1
    assert body.count('class="sketch"') == 1
    assert body.count('<path class="line') == 3
    assert "x x…</p>" in body
    assert "not shown" not in body


def forecast(horizon: int = 3, size: int = 10, **more) -> Forecast:
    values = np.arange(float(size))
    return Forecast("load", values, values, horizon, values[-horizon:] + 0.5, **more)


def test_forecasts() -> None:
    inside, outside = np.array([6.0, 7, 8]), np.array([8.0, 8.5, 9.5])
    section = forecasts(
        [forecast(intervals={80: (inside, outside), 95: (inside - 9, outside + 9)})], 1
    )
    assert section.body.count("<svg") == 2
    assert section.body.count('class="band wide"') == section.body.count('class="band narrow"') == 2
    assert section.body.index("95\u00a0% interval") < section.body.index("80\u00a0% interval")
    assert section.note.replace("\u00a0", " ") == (
        "What happened, what the model said beforehand, and how sure it was. "
        "The 80 % intervals shown hold 100 %. The 95 % intervals shown hold 100 %."
    )


def test_coverage_counts_known_values_only() -> None:
    actual = np.array([1.0, 2, 3, NAN])
    item = Forecast(
        "s", np.arange(4), actual, 3, np.zeros(3), {50: (np.array([0.0, 5, 0]), np.full(3, 9.0))}
    )
    assert "The 50\u00a0% intervals shown hold 50\u00a0%." in forecasts([item], 1).note


def test_a_long_history_is_cut() -> None:
    body = forecasts([forecast(100, 5_000)], 1).body
    ticks = [int(tick.replace(",", "")) for tick in re.findall(r">([\d,]+)</text>", body)]
    assert min(ticks) >= 4_500


def test_many_series_are_counted() -> None:
    body = forecasts([forecast()] * 9, 400).body
    assert body.count("<figure") == 8
    assert text(body).endswith("392 series not shown, of 400 in all.")


def test_horizon_errors() -> None:
    section = horizon_errors(HorizonErrors("MAE", [1.0, 2.0], [2.0, 3.0], "naive"))
    assert (
        "MAE over 2 steps ahead: this model from 1.000 to 2.000; naive from 2.000" in section.body
    )
    assert "naive" not in horizon_errors(HorizonErrors("MAE", [1.0, 2.0])).body


def test_tagged_sentences_show_both_labels_of_an_error() -> None:
    sentence = TaggedSentence(["a", "run"], ["DET", "NOUN"], ["DET", "VERB"])
    body = tagged_sentences([sentence] * 21, 30).body
    assert body.count('class="word error"') == 20
    assert text(body).startswith("a DET run ✗ VERB → NOUN 2 tokens, 1 error")
    assert text(body).endswith("10 sentences not shown, of 30 in all.")
    right = tagged_sentences([TaggedSentence(["a"] * 90, ["X"] * 90, ["X"] * 90)], 1).body
    assert text(right).endswith("10 tokens not shown, of 90 in all. 90 tokens, all right")


def test_recordings_mark_where_the_two_differ() -> None:
    recording = Recording("a1", list("rrrsss") + ["s"] * 4, list("rrssss") + ["t"] * 4)
    body = recordings([recording], 3).body
    assert "a1 · 50.00 % right, 10 frames" in text(body)
    found = re.findall(r'<rect class="([\w-]+)" x="(\d+)" y="(\d+)" width="(\d+)"', body)
    assert found == [
        ("colour-1", "0", "0", "300"),
        ("colour-0", "300", "0", "700"),
        ("colour-1", "0", "22", "200"),
        ("colour-0", "200", "22", "400"),
        ("colour-other", "600", "22", "400"),
        ("differs", "200", "44", "100"),
        ("differs", "600", "44", "400"),
    ]
    assert text(body).endswith("2 recordings not shown, of 3 in all.")


def test_many_labels_share_a_colour() -> None:
    labels = [str(k) for k in range(10)]
    assert "another label" in recordings([Recording("a", labels, labels)], 1).body


def test_attention_names_the_largest_weights() -> None:
    sentence = AttendedSentence(list("abcd"), [0.4, 0.1, 0.3, 0.2], "good")
    body = attention([sentence], 1).body
    assert text(body) == "a 40% b c 30% d 20% → good"
    assert re.findall(r"--depth: ([\d.]+)", body) == ["1.00", "0.25", "0.75", "0.50"]


def test_configuration_is_flat_and_folded() -> None:
    section = configuration(
        {
            "training": {"epochs": 3, "betas": [0.9, 0.99], "a": {"b": {"c": "d"}}},
            "seed": None,
            "a": {},
        }
    )
    assert cells(section.body)[1:] == [
        ["training.epochs", "3"],
        ["training.betas", "[0.9, 0.99]"],
        ["training.a.b.c", "d"],
        ["seed", "None"],
        ["a", "{}"],
    ]
    assert section.body.startswith("<details><summary>5\u00a0settings</summary>")
