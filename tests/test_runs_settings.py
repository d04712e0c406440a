"""The settings of a run: made of an estimator's parameters, searched, written as TOML."""

import math
import re
from collections.abc import Mapping
from typing import ClassVar

import pytest

from fastlstm.config import ConfigError, read_mapping, to_mapping
from fastlstm.models import LSTMConfig
from fastlstm.runs import Choice, Real, Whole, parameters, parse_space, read_settings, settings_of
from fastlstm.runs.outcome import learning_curves, scores_as_json
from fastlstm.runs.space import space_from, space_to_json
from fastlstm.runs.toml import settings_as_toml, to_toml
from fastlstm.training import History, Metric, TrainingConfig


class Estimator:
    default_lstm: ClassVar = LSTMConfig(hidden_size=9, bidirectional=True)
    default_training: ClassVar = TrainingConfig(epochs=4, learning_rate=0.5)

    def __init__(
        self,
        lstm: LSTMConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        rate: float = 0.25,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        pass


def test_settings_have_the_parameters_and_their_defaults():
    settings = settings_of(Estimator)()
    assert parameters(settings) == {
        "lstm": Estimator.default_lstm,
        "training": Estimator.default_training,
        "rate": 0.25,
        "weights": None,
    }


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path):
    file = tmp_path / "some.toml"
    file.write_text("rate = 1\n[lstm]\nnum_layers = 2\n[weights]\na = 3\n")
    settings = read_settings(settings_of(Estimator), file, ["training.epochs=7", "rate=0.125"])
    assert settings.lstm == LSTMConfig(hidden_size=9, bidirectional=True, num_layers=2)
    assert settings.training == TrainingConfig(epochs=7, learning_rate=0.5)
    assert settings.rate == 0.125
    assert settings.weights == {"a": 3.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rat = 1\n", "some.toml: unknown key rat: did you mean rate?"),
        ("[lstm]\nsize = 1\n", "some.toml: unknown key lstm.size: did you mean proj_size?"),
        ("rate = 'x'\n", "some.toml: rate is 'x': expected a number"),
        ("lstm = 3\n", "some.toml: lstm is 3: expected a table of hidden_size"),
    ],
)
def test_a_file_with_a_fault(tmp_path, text, message):
    file = tmp_path / "some.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_settings(settings_of(Estimator), file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1..9", ("a.b", Whole(1, 9))),
        ("a=-3..4", ("a", Whole(-3, 4))),
        ("a=1..9:log", ("a", Whole(1, 9, log=True))),
        ("a=1e-4..0.1:log", ("a", Real(1e-4, 0.1, log=True))),
        ("a=0..0.5", ("a", Real(0.0, 0.5))),
        ("a=x, y,3", ("a", Choice(("x", "y", "3")))),
    ],
)
def test_spaces(text, expected):
    assert parse_space(text) == expected
    assert space_from(space_to_json(expected[1])) == expected[1]


def test_toml_reads_back(tmp_path):
    content = {
        "text": 'a "quoted" \\ line\n\x7fé',
        "yes": True,
        "number": 3,
        "small": 1e-05,
        "list": [1.5, "two", [False]],
        "table": {"a key": 1, "inner": {"x": -2.0}, "none": {}},
    }
    file = tmp_path / "written.toml"
    file.write_text(to_toml(content), encoding="utf-8")
    del content["table"]["none"]
    assert read_mapping(file) == content


def test_settings_as_toml_have_what_differs(tmp_path):
    kind = settings_of(Estimator)
    assert settings_as_toml(kind()) == "\n"
    given = ["lstm.zoneout=0.1,0.2", "training.epochs=5", "weights=none", "rate=0.5"]
    settings = read_settings(kind, None, given)
    text = settings_as_toml(settings)
    assert text == "rate = 0.5\n\n[lstm]\nzoneout = [0.1, 0.2]\n\n[training]\nepochs = 5\n"
    (tmp_path / "x.toml").write_text(text)
    assert to_mapping(read_settings(kind, tmp_path / "x.toml")) == to_mapping(settings)
    with pytest.raises(ConfigError, match=r"lstm\.forget_bias is none, which TOML cannot hold"):
        settings_as_toml(read_settings(kind, None, ["lstm.forget_bias=none"]))


def record(epoch, **figures):
    return {"epoch": epoch, "train_loss": 1.0, "seconds": 1.0, **figures}


def test_curves_mark_the_epoch_that_was_kept():
    records = [
        record(1, train_f1=0.1, validation_loss=2.0, validation_f1=0.5),
        record(2, train_f1=0.2, validation_loss=1.0, validation_f1=0.7),
        record(3, train_f1=0.3, validation_loss=None, validation_f1=0.7),
        record(4, train_f1=0.4, validation_loss=1.5, validation_f1=None),
    ]
    metrics = (Metric("wer", higher_is_better=False), Metric("f1", higher_is_better=True))
    curves = learning_curves(History(records, 3, 0.7, False), metrics)
    assert curves.best_epoch == 3
    assert (curves.metric_name, curves.percent) == ("f1", True)
    assert curves.metrics["training"] == [0.1, 0.2, 0.3, 0.4]
    assert curves.metrics["validation"][:3] == [0.5, 0.7, 0.7]
    assert math.isnan(curves.metrics["validation"][3])
    assert math.isnan(curves.losses["validation"][2])
    metrics = (Metric("loss", higher_is_better=False),)
    by_loss = learning_curves(History(records, 2, 1.0, False), metrics)
    assert (by_loss.best_epoch, by_loss.metrics, by_loss.percent) == (2, None, False)


def test_curves_without_validation():
    history = History([record(1), record(2)], 2, None, False)
    curves = learning_curves(history, (Metric("f1", higher_is_better=True),))
    assert (list(curves.losses), curves.best_epoch, curves.metrics) == (["training"], 2, None)


def test_scores_as_json_have_no_nan():
    from fastlstm.report import Metric as Shown
    from fastlstm.report import Scores

    scores = Scores([Shown("a", math.nan, 0.5), Shown("b", 1.0)], "none")
    assert scores_as_json(scores) == {
        "a": {"value": None, "baseline": 0.5},
        "b": {"value": 1.0, "baseline": None},
    }
