"""Runs of forecasts from data to report: what is read, what is written, what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import browser
from browser import Browser
from fastlstm.data import DataError
from fastlstm.runs import find_task, predict, read_settings, train
from fastlstm.runs.forecasting import ForecastData, Forecasting
from fastlstm.tasks import Forecaster
from forecasting_cases import last_steps, waves, without_last

QUICK = (
    "lstm.hidden_size=6",
    "training.epochs=1",
    "training.learning_rate=0.02",
    "input_chunk=14",
)


def quick() -> Any:
    return read_settings(Forecasting().settings, None, QUICK)


def write(frame: pd.DataFrame, path: Path) -> Path:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        pyarrow.csv.write_csv(table, path)
    return path


def data_of(path: Path, **arguments: Any) -> ForecastData:
    given = {"horizon": 5, "id": "unique_id", **arguments}
    return ForecastData(str(path), **given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("forecasts")
    file = write(waves(), folder / "shops.csv")
    return train("forecast", data_of(file), folder / "run", quick())


def test_a_run_leaves_scores_and_a_report(trained: Any) -> None:
    scores = json.loads((trained.path / "scores.json").read_text())
    assert scores["task"] == "forecast"
    assert scores["baseline"] == "seasonal naive (7 steps)"
    assert (scores["training_examples"], scores["test_examples"]) == (3 * 48, 3 * 12)
    assert list(scores["scores"]) == [
        "MAE", "MSE", "RMSE", "sMAPE (%)", "MASE", "CRPS", "inside the 80 % interval",
        "inside the 90 % interval",
    ]  # fmt: skip
    page = (trained.path / "report.html").read_text()
    for expected in ("Forecasts", "Error by horizon", "shop 2", "held out for the test"):
        assert expected in page
    assert page.count("<h3>Loss") <= 1
    assert "24 forecasts, each from all that is before." in page


def test_scores_are_those_of_the_end_of_each_series(trained: Any) -> None:
    loaded = Forecaster.load(trained.path / "model")
    expected = loaded.evaluate(waves(), steps=12)
    found = {metric.name: metric for metric in trained.scores.metrics}
    assert found["MAE"].value == expected["mae"]
    assert found["MAE"].baseline == expected["naive_mae"]
    assert found["CRPS"].baseline == expected["naive_mae"]
    # The end was not trained on: the model is the one of the series without it.
    assert loaded.series_.stamps(0)[-1] == np.datetime64("2024-02-17")


@pytest.mark.skipif(browser.EXECUTABLE is None, reason="needs Chromium")
def test_the_report_opens(trained: Any) -> None:
    with Browser() as opened:
        opened.open(trained.path / "report.html", 1200)
        assert opened.complaints == []
        assert opened.evaluate("document.querySelectorAll('svg').length") >= 5


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_files_are_forecast(trained: Any, tmp_path: Path, suffix: str) -> None:
    from fastlstm.runs import Run

    file = write(without_last(waves(), 3), tmp_path / "now.parquet")
    output = tmp_path / f"ahead{suffix}"
    assert predict(Run.open(trained.path), file, output) == 15
    expected = trained.estimator.predict(without_last(waves(), 3), level=[80, 90])
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": pd.read_json}
    found = read[suffix](output, **({"lines": True} if suffix == ".jsonl" else {}))
    assert found.columns.tolist() == expected.columns.tolist()
    assert np.allclose(found["LSTM-hi-90"], expected["LSTM-hi-90"], rtol=1e-5)
    assert pd.to_datetime(found["ds"]).tolist() == expected["ds"].tolist()


def test_rows_ahead_stand_in_the_file(tmp_path: Path) -> None:
    from fastlstm.runs import Run

    frame = waves()
    data = data_of(
        write(frame, tmp_path / "shops.parquet"),
        past=("weather",),
        future=("sale",),
        static=("kind", "size"),
    )
    outcome = train("forecast", data, tmp_path / "run", quick())
    ahead = waves(days=65)
    ahead.loc[last_steps(ahead, 5).index, ["y", "weather"]] = np.nan
    output = tmp_path / "ahead.parquet"
    assert predict(Run.open(outcome.path), write(ahead, tmp_path / "now.parquet"), output) == 15
    expected = outcome.estimator.predict(
        without_last(ahead, 5), level=[80, 90], future=last_steps(ahead, 5)
    )
    assert np.allclose(pd.read_parquet(output)["LSTM"], expected["LSTM"], rtol=1e-6)
    with pytest.raises(DataError, match=r"^no row has a value of y: expected some$"):
        predict(
            Run.open(outcome.path),
            write(last_steps(ahead, 5), tmp_path / "none.parquet"),
            tmp_path / "x.csv",
        )


def test_a_wide_table_is_several_targets(tmp_path: Path) -> None:
    wide = waves().pivot(index="ds", columns="unique_id", values="y").reset_index()
    targets = ("shop 0", "shop 1", "shop 2")
    file = write(wide, tmp_path / "wide.csv")
    data = data_of(file, id=None, target=targets)
    outcome = train("forecast", data, tmp_path / "run", quick())
    expected = outcome.estimator.evaluate(
        Forecasting().read(data).test.series, steps=12, standardised=True
    )
    assert outcome.scores.metrics[0].value == expected["mae"]
    page = (outcome.path / "report.html").read_text()
    assert "shop 1" in page
    assert "standard deviations of each target" in page


def test_a_file_of_its_own_is_measured(tmp_path: Path, trained: Any) -> None:
    file = write(waves(), tmp_path / "shops.csv")
    other = write(waves(seed=1), tmp_path / "others.csv")
    parts = Forecasting().read(data_of(file, test=other))
    assert len(parts.train) == 3 * 60
    assert len(parts.test) == 3 * 12
    found = Forecasting().measure(trained.estimator, parts.test)
    expected = trained.estimator.evaluate(waves(seed=1), steps=12)
    assert found.scores.metrics[0].value == expected["mae"]


def test_short_series_are_left_out(tmp_path: Path) -> None:
    short = waves(1).assign(unique_id="new")[:9]
    file = write(pd.concat([waves(), short]), tmp_path / "shops.csv")
    parts = Forecasting().read(data_of(file))
    assert parts.train.series.names == ["shop 0", "shop 1", "shop 2"]
    assert parts.note == (
        "the last 12 steps of each series held out for the test; 1 series have no more, and are "
        "left out"
    )
    few = write(waves(days=4), tmp_path / "few.csv")
    message = (
        f"{few}: the longest series has 4 steps, and the last 5 of each are held out for the test: "
        "expected more"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Forecasting().read(data_of(few))


def test_a_point_forecast_has_no_intervals(tmp_path: Path) -> None:
    from fastlstm.runs import Run

    file = write(waves(), tmp_path / "shops.csv")
    settings = read_settings(Forecasting().settings, None, (*QUICK, "output=point"))
    outcome = train("forecast", data_of(file), tmp_path / "run", settings)
    assert [metric.name for metric in outcome.scores.metrics][-1] == "MASE"
    predict(Run.open(outcome.path), file, tmp_path / "ahead.csv")
    assert pd.read_csv(tmp_path / "ahead.csv").columns.tolist() == ["unique_id", "ds", "LSTM"]


@pytest.mark.parametrize(
    ("name", "train_steps", "validation", "test"),
    [
        ("ett", 16 * 720, 4 * 720, 4 * 720),
        ("ETTm2", 16 * 2880, 4 * 2880, 4 * 2880),
        ("airline", 120, None, 24),
        ("sunspots", 2340, None, 480),
    ],
)
def test_named_sets(name: str, train_steps: int, validation: int | None, test: int) -> None:
    parts = Forecasting().read(ForecastData(name))
    assert len(parts.train) == train_steps
    assert (parts.validation is None) == (validation is None)
    assert validation is None or len(parts.validation) == validation  # type: ignore[arg-type]
    assert len(parts.test) == test
    assert parts.test.standardised == name.lower().startswith("ett")


def test_one_target_of_a_named_set() -> None:
    parts = Forecasting().read(ForecastData("ETTh1", target=("OT",)))
    assert parts.test.series.columns.targets == ("OT",)
    assert parts.test.standardised


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            ForecastData("airline", validation=Path("x.csv")),
            "validation is x.csv: expected no file, as the best epoch is chosen by the end of each "
            "series",
        ),
        (
            ForecastData("airline", test=Path("x.csv")),
            "airline has a test part of its own: expected no file for it",
        ),
        (
            ForecastData("sunspots", past=("x",)),
            "sunspots is read as it is known: expected no past",
        ),
    ],
)
def test_what_named_sets_refuse(data: ForecastData, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        find_task("forecast").read(data)


def test_what_the_data_say_is_no_setting() -> None:
    names = set(Forecasting.settings.__dataclass_fields__)
    assert not names & {"horizon", "columns", "frequency", "fill"}
    assert {"lstm", "training", "input_chunk", "validation"} <= names
