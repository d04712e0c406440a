"""The benchmarks of quality: what is kept, what is measured anew, the marks and the page."""

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.quality import __main__ as command
from benchmarks.quality import page
from benchmarks.quality.benchmark import (
    Benchmark,
    Mark,
    difference,
    estimator_settings,
    mean,
    of,
    seeded,
)
from benchmarks.quality.records import Run, by_seed, is_current, keep_run, read_runs

from fastlstm.tasks import SequenceClassifier


def estimator_of(part: str, seed: int) -> SequenceClassifier:
    return seeded(SequenceClassifier(dropout=0.25), seed)


def train(estimator: SequenceClassifier, part: str) -> Any:
    assert estimator.training is not None
    score = {"one": 0.5, "other": 0.75}[part] + estimator.training.seed / 100
    return lambda: {"accuracy": score, "error": 1 - score}


MARKS = (
    Mark("accuracy, mean", mean("accuracy"), 0.63, per_cent=True, published="60.0 (somebody)"),
    Mark("error of one", of("one", "error"), 0.48, at_least=False, minutes=10.0),
)
BENCHMARK = Benchmark("Two parts", ("one", "other"), MARKS, estimator_of, train)


def run_of(seed: int, part: str, accuracy: float, **changes: Any) -> Run:
    settings = estimator_settings(estimator_of(part, seed))
    run = Run(
        seed=seed,
        part=part,
        scores={"accuracy": accuracy, "error": 1 - accuracy},
        seconds=240.0,
        settings=json.loads(json.dumps(settings)),
        threads=2,
        load=0.25,
        date="2026-01-02",
        machine="a CPU, 2 cores",
        versions={"torch": "2.9"},
    )
    return replace(run, **changes)


def two_seeds() -> list[Run]:
    return [
        run_of(0, "one", 0.5),
        run_of(0, "other", 0.75),
        run_of(1, "one", 0.54),
        run_of(1, "other", 0.75, seconds=360.0),
    ]


# What is kept


def test_runs_are_kept_by_seed_and_part(tmp_path: Path) -> None:
    assert read_runs("two", tmp_path / "results") == []
    for run in reversed(two_seeds()):
        keep_run("two", run, tmp_path / "results")
    keep_run("two", run_of(0, "other", 0.9), tmp_path / "results")
    found = read_runs("two", tmp_path / "results")
    assert [(run.seed, run.part) for run in found] == [
        (0, "one"),
        (0, "other"),
        (1, "other"),
        (1, "one"),
    ]
    assert found[1] == run_of(0, "other", 0.9)


def test_a_run_with_other_defaults_is_no_longer_current() -> None:
    run = run_of(1, "one", 0.5)
    assert is_current(run, BENCHMARK)
    training = {**run.settings["training"], "epochs": 1}
    assert not is_current(replace(run, settings={**run.settings, "training": training}), BENCHMARK)


def test_settings_hold_the_defaults() -> None:
    settings = estimator_settings(estimator_of("one", 3))
    assert settings["estimator"] == "SequenceClassifier"
    assert settings["dropout"] == 0.25
    assert settings["lstm"]["hidden_size"] == SequenceClassifier.default_lstm.hidden_size
    assert settings["training"]["seed"] == 3
    default = estimator_settings(SequenceClassifier(dropout=0.25))
    assert {**default["training"], "seed": 3} == settings["training"]


def test_a_seed_counts_when_all_its_parts_are_there() -> None:
    runs = [*two_seeds(), run_of(2, "one", 0.9)]
    assert list(by_seed(runs, BENCHMARK)) == [0, 1]


# Marks and the page


@pytest.mark.parametrize(
    ("mark", "values", "minutes", "expected"),
    [
        (Mark("", mean("x"), 0.5), [], [], "not measured"),
        (Mark("", mean("x"), 0.5), [0.4, 0.5, 0.9], [1, 1, 1], "met"),
        (Mark("", mean("x"), 0.5), [0.4, 0.49, 0.9], [1, 1, 1], "missed"),
        (Mark("", mean("x"), 0.5, at_least=False), [0.5], [1], "missed"),
        (Mark("", mean("x"), 0.5, at_least=False), [0.49], [10], "met"),
        (Mark("", mean("x"), 0.5), [0.5, 0.6], [9, 9], "met, by 2 of 3 seeds"),
        (Mark("", mean("x"), 0.5, minutes=10), [0.5], [10], "met"),
        (
            Mark("", mean("x"), 0.5, minutes=10),
            [0.5] * 3,
            [9, 11, 12],
            "missed: longer than 10 min",
        ),
    ],
)
def test_the_median_decides(
    mark: Mark, values: list[float], minutes: list[float], expected: str
) -> None:
    assert page.verdict(mark, values, minutes) == expected


def test_figures_of_a_seed() -> None:
    scores = {"one": {"x": 1.0}, "other": {"x": 3.0}}
    assert mean("x")(scores) == 2.0
    assert of("other", "x")(scores) == 3.0
    assert difference(of("other", "x"), of("one", "x"))(scores) == 2.0


def test_the_page() -> None:
    text = page.render({"two": BENCHMARK}, {"two": two_seeds()})
    assert (
        "| Two parts | accuracy, mean | ≥ 63.00 % | 63.50 % | 62.50 %, 64.50 % | "
        "met, by 2 of 3 seeds | 60.0 (somebody) | 9.0 |" in text
    )
    assert "| Two parts | error of one | < 0.480 | 0.480 | 0.500, 0.460 | " in text
    assert (
        "- Two parts: `python -m benchmarks.quality two`, 2 parts, seeds 0, 1, threads 2, load of "
        "the machine before 0.2; a CPU, 2 cores, torch 2.9, 2026-01-02\n" in text
    )
    text = page.render({"two": BENCHMARK}, {})
    assert "| Two parts | accuracy, mean | ≥ 63.00 % | – | – | not measured |" in text
    assert "- Two parts: not measured; `python -m benchmarks.quality two`" in text


# The command


@pytest.fixture
def in_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(command, "BENCHMARKS", {"two": BENCHMARK})
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    return tmp_path


def test_what_was_stopped_goes_on(in_a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep_run("two", run_of(0, "one", 0.9), in_a_folder / "results")
    stale = run_of(1, "one", 0.9, settings={"estimator": "another"})
    keep_run("two", stale, in_a_folder / "results")
    assert command.main(["two", "--seeds", "2", "--threads", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("two ")]
    assert [line.partition(":")[0] for line in lines] == [
        "two other, seed 0",
        "two one, seed 1",
        "two other, seed 1",
    ]
    assert lines[1].startswith("two one, seed 1: accuracy 0.5100, error 0.4900; 0 s")
    found = {(run.seed, run.part): run for run in read_runs("two", in_a_folder / "results")}
    assert found[0, "one"].scores["accuracy"] == 0.9
    assert found[0, "other"].versions["torch"] == metadata.version("torch")
    text = (in_a_folder / "results.md").read_text(encoding="utf-8")
    assert "| 82.50 %, 63.50 % |" in text
    assert command.main(["two", "--seeds", "1", "--threads", "1", "--again"]) == 0
    assert "two one, seed 0: accuracy 0.5000" in capsys.readouterr().out


def test_the_page_is_written_after_each_run(
    in_a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(estimator: SequenceClassifier, part: str) -> Any:
        if part == "other":
            raise KeyboardInterrupt
        return train(estimator, part)

    benchmark = replace(BENCHMARK, parts=("one", "other"), train=stopped)
    monkeypatch.setattr(command, "BENCHMARKS", {"two": benchmark})
    with pytest.raises(KeyboardInterrupt):
        command.main(["two", "--threads", "1"])
    assert "`python -m benchmarks.quality two`, 2 parts, seeds 0," in (
        in_a_folder / "results.md"
    ).read_text(encoding="utf-8")


def test_without_a_name_the_page_is_written_from_what_is_current(in_a_folder: Path) -> None:
    for run in two_seeds():
        keep_run("two", run, in_a_folder / "results")
    keep_run("two", run_of(1, "one", 0.9, settings={}), in_a_folder / "results")
    assert command.main([]) == 0
    assert "| 62.50 % | 62.50 % |" in (in_a_folder / "results.md").read_text(encoding="utf-8")


def test_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["mnist"])
    assert "unknown name 'mnist': expected some of mnist-rows, " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["mnist-rows", "--seeds", "0"])


def test_the_page_in_the_repository_is_that_of_the_runs() -> None:
    runs = {
        name: [run for run in read_runs(name) if is_current(run, benchmark)]
        for name, benchmark in command.BENCHMARKS.items()
    }
    assert command.PAGE.read_text(encoding="utf-8") == page.render(command.BENCHMARKS, runs)
