"""The scores in a terminal: 80 columns, no colour needed."""

import io
import re

import numpy as np
import pytest
from rich.console import Console, RenderableType

from fastlstm.report import Metric, ReportError, Scores, score_table, text_chart


def printed(shown: RenderableType, **options) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=80, **options).print(shown)
    return [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]


def test_score_table() -> None:
    scores = Scores([Metric("[b]MSE", 0.5, 1.0, better="lower"), Metric("R²", 0.9)], "[i]naive")
    head, rule, *rows = printed(score_table(scores))
    assert head.split() == ["metric", "this", "model", "[i]naive", "difference"]
    assert set(rule.strip()) == {"─"}
    assert [row.split() for row in rows] == [
        ["[b]MSE", "0.5000", "1.000", "▼", "−0.500", "(−50", "%),", "better"],
        ["R²", "0.9000", "–", "–"],
    ]
    alone = printed(score_table(Scores([Metric("accuracy", 0.5, percent=True)])))
    assert alone[0].split() == ["metric", "this", "model"]
    assert alone[2].split() == ["accuracy", "50.00", "%"]


def test_colour_only_repeats_what_the_words_say() -> None:
    scores = Scores([Metric("a", 2.0, 1.0), Metric("b", 1.0, 2.0)], "naive")
    coloured = "\n".join(printed(score_table(scores), force_terminal=True, color_system="standard"))
    assert re.search(r"\x1b\[32m *▲", coloured)
    assert re.search(r"\x1b\[31m *▼", coloured)


def test_a_wide_table_fits_80_columns() -> None:
    metric = Metric("a name that is much longer than any column", -123456.7, 123456.7)
    lines = printed(score_table(Scores([metric], "a baseline with a name that is long")))
    assert max(map(len, lines)) <= 80
    assert any("worse" in line for line in lines)


def test_text_chart() -> None:
    assert printed(text_chart("loss", [4.0, 2.0, float("nan"), 0.0], height=2)) == [
        "loss over 4\u00a0epochs",
        " 4.000 ┤████▁▁▁▁",
        "     0 ┤████████    ▁▁▁▁",
        "       └────────────────",
        "        1              4",
    ]


def test_many_epochs_share_columns() -> None:
    values = np.linspace(0, 1, 1_000)
    values[-1] = np.nan
    lines = printed(text_chart("accuracy", values.tolist(), percent=True))
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("99.90\u00a0% ┤")
    assert lines[-1].endswith("1,000")
    assert lines[1].endswith("█")
    assert "█" not in lines[1][:40]


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0, 2.0]])
def test_equal_values_are_drawn_half_high(values: list[float]) -> None:
    lines = printed(text_chart("loss", values, height=2))
    assert lines[2].endswith("████")
    assert "█" not in lines[1]
    assert lines[-1].split() == (["1"] if len(values) == 1 else ["1", "3"])


def test_no_finite_value_is_an_error() -> None:
    with pytest.raises(ReportError) as error:
        text_chart("loss", [float("nan")])
    assert str(error.value) == "loss: expected a finite value to draw, got none in 1"
