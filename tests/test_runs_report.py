"""The reports that runs write, as a browser shows them."""

import pytest

from browser import EXECUTABLE, Browser
from fastlstm.runs import read_settings, train
from fastlstm.runs.classification import Classification, ClassificationData
from fastlstm.runs.text import TextClassification, TextData
from run_data import QUICK, text_rows, wave_rows, write_csv, write_images

TITLES = ["Scores", "Learning curves", "Confusion matrix", "Worst mistakes", "Label by label"]


@pytest.fixture(scope="module")
def browser():
    if EXECUTABLE is None:
        pytest.skip("no Chromium")
    with Browser() as opened:
        yield opened


def noisy(rows):
    """Every fifth label is wrong, so that there are mistakes to show."""
    labels = [row["label"] for row in rows]
    for place in range(0, len(rows), 5):
        rows[place]["label"] = labels[place - 1]
    return rows


def of_images(folder):
    data = ClassificationData(str(write_images(folder / "sides", 25)))
    return "classify", data, ["training.epochs=1"], []


def of_waves(folder):
    file = write_csv(folder / "waves.csv", noisy(wave_rows(100)))
    data = ClassificationData(str(file), features=("t0", "t1", "t5"))
    return "classify", data, [], []


def of_texts(folder):
    data = TextData(str(write_csv(folder / "texts.csv", noisy(text_rows()))))
    return "text", data, ["pooling=attention"], ["Attention"]


@pytest.mark.parametrize("make", [of_images, of_waves, of_texts])
def test_a_report_opens_without_a_complaint(browser, tmp_path, make):
    task, data, overrides, more = make(tmp_path)
    settings = {"classify": Classification, "text": TextClassification}[task].settings
    outcome = train(
        task, data, tmp_path / "run", read_settings(settings, None, [*QUICK, *overrides])
    )
    browser.open(outcome.path / "report.html", 1000)
    assert browser.complaints == []
    titles = browser.evaluate("[...document.querySelectorAll('h2')].map(h => h.textContent)")
    assert titles == [*TITLES, *more, "Configuration"]
    # Nothing sticks out of the page, and every picture is drawn.
    assert browser.evaluate("document.documentElement.scrollWidth") <= 1000
    broken = "[...document.images].filter(image => !image.naturalWidth).length"
    assert browser.evaluate(broken) == 0
    shown = browser.evaluate("document.querySelectorAll('.pictures li, .texts li').length")
    wrong = browser.evaluate("document.querySelector('#worst-mistakes .note').textContent")
    assert shown == min(24, int(wrong.split()[0]))
    assert shown or make is of_images


def test_attention_is_of_the_words_of_the_text(tmp_path):
    from fastlstm.runs import Run
    from fastlstm.runs.text import _attended

    file = write_csv(tmp_path / "texts.csv", text_rows())
    settings = read_settings(TextClassification.settings, None, [*QUICK, "pooling=attention"])
    outcome = train("text", TextData(str(file)), tmp_path / "run", settings)
    texts = ["What a FINE film", "", "no fun"]
    found = _attended(outcome.estimator, texts)
    assert [sentence.tokens for sentence in found] == [["what", "a", "fine", "film"], ["no", "fun"]]
    for sentence in found:
        assert sum(sentence.weights) == pytest.approx(1)
    labels = outcome.estimator.predict(texts)
    assert [sentence.predicted for sentence in found] == [labels[0], labels[2]]
    # Nothing stays behind in the network.
    assert not outcome.estimator.network_.classifier.pooling._forward_pre_hooks
    assert Run.open(outcome.path).load().predict(texts).tolist() == labels.tolist()
