"""`fastlstm tune`: what it tries, what it keeps, how it goes on."""

import json
import re

import pytest

from fastlstm.config import read_mapping
from run_data import QUICK_OPTIONS, wave_rows, write_csv

FEATURES = ("--features", "t0,t1,t2,t3,t4,t5")
SEARCH = ("--search", "lstm.hidden_size=2..9", "--search", "pooling=mean,max")
LINE = re.compile(r" *(\d+)/(\d+) +(accuracy [\d.]+%|pruned|failed)(  best)?  (.*)")


@pytest.fixture
def waves(tmp_path):
    return write_csv(tmp_path / "waves.csv", wave_rows())


def trials_in(out):
    return [match.groups() for match in map(LINE.fullmatch, out.splitlines()) if match]


def test_tune_writes_settings_that_train_takes(run, waves, tmp_path):
    options = (*FEATURES, *QUICK_OPTIONS, *SEARCH, "--trials", 4, "--output", "found")
    status, out, err = run("tune", "classify", waves, *options)
    assert (status, err) == (0, "")
    found = trials_in(out)
    assert [(number, total) for number, total, *_ in found] == [(str(n), "4") for n in range(1, 5)]
    # The first is what one begins with, where the space has it.
    assert "lstm.hidden_size=7," in found[0][4]
    best = [settings for *_, is_best, settings in found if is_best][-1]
    hidden_size = int(re.search(r"lstm\.hidden_size=(\d+)", best)[1])
    pooling = re.search(r"pooling=(\w+)", best)[1]
    assert pooling in ("mean", "max")
    saved = read_mapping(tmp_path / "found" / "best.toml")
    assert saved["lstm"]["hidden_size"] == hidden_size
    assert saved["pooling"] == pooling
    assert saved["training"] == {"epochs": 3, "learning_rate": 0.02}
    command = out.splitlines()[-1].split()
    assert command[:3] == ["fastlstm", "train", "classify"]
    status, _, err = run(*command[1:], *FEATURES, "--output", "one")
    assert (status, err) == (0, "")
    settings = json.loads((tmp_path / "one" / "run.json").read_text())["settings"]
    assert settings["lstm"]["hidden_size"] == hidden_size


def test_resume_adds_trials_to_those_there_are(run, waves, tmp_path):
    options = (*FEATURES, *QUICK_OPTIONS, *SEARCH, "--trials", 2, "--output", "found")
    first = trials_in(run("tune", "classify", waves, *options)[1])
    status, out, err = run("tune", "classify", "--resume", "found", "--trials", 5)
    assert (status, err) == (0, "")
    more = trials_in(out)
    assert [number for number, *_ in [*first, *more]] == ["1", "2", "3", "4", "5"]
    # They are others, and not the same ones drawn once more.
    assert len({settings for *_, settings in [*first, *more]}) > 2
    status, out, _ = run("tune", "classify", "--resume", "found", "--trials", 5)
    assert (status, trials_in(out)) == (0, [])


def test_an_interrupted_search_keeps_its_trials(run, waves, monkeypatch):
    from fastlstm.runs.classification import Classification
    from fastlstm.training import Interrupted

    fit = Classification.fit
    calls = []

    def interrupt_the_third(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise Interrupted("interrupted in epoch 1 after 0 of 2 batches; nothing is saved")
        return fit(self, *arguments, **options)

    monkeypatch.setattr(Classification, "fit", interrupt_the_third)
    options = (*FEATURES, *QUICK_OPTIONS, *SEARCH, "--trials", 4, "--output", "found")
    status, out, err = run("tune", "classify", waves, *options)
    assert status == 130
    assert len(trials_in(out)) == 2
    command = "fastlstm tune classify --resume found --trials 4"
    assert err == f"fastlstm: interrupted in trial 3 of 4; to go on: {command}\n"
    status, out, err = run(*command.split()[1:])
    assert (status, err) == (0, "")
    # The interrupted one counts as a trial that failed.
    assert [number for number, *_ in trials_in(out)] == ["4"]


def test_the_test_part_is_not_touched(run, waves, monkeypatch):
    def look(*arguments):
        raise AssertionError("the test part was measured")

    monkeypatch.setattr("fastlstm.runs.classification.Classification.measure", look)
    options = (*FEATURES, *QUICK_OPTIONS, *SEARCH, "--trials", 1, "--output", "found")
    assert run("tune", "classify", waves, *options)[0] == 0


def test_settings_that_diverge_are_a_trial_that_failed(run, waves):
    search = ("--search", "training.learning_rate=0.01,1e30")
    options = (*FEATURES, *QUICK_OPTIONS, *search, "--trials", 6, "--output", "found")
    status, out, err = run("tune", "classify", waves, *options)
    assert (status, err) == (0, "")
    by_rate = {settings.split("=")[1]: result for _, _, result, _, settings in trials_in(out)}
    assert by_rate["1e30"] == "failed"
    assert by_rate["0.01"].startswith("accuracy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--search", "lstm.hiden=1..3"), "lstm.hiden=1: unknown key hiden: did you mean hidden_s"),
        (("--search", "lstm.hidden_size=0..3"), "hidden_size must be"),
        (("--search", "dropout=0.5..0.1"), "'dropout=0.5..0.1' is an empty range: expected LOW < "),
        (("--search", "dropout"), "'dropout' is no range: expected KEY=LOW..HIGH[:log] or KEY=A,B"),
        (("--search", "dropout=a..b"), "'dropout=a..b': 'a..b' is no range of numbers"),
        (("--search", "dropout=0..1:lin"), "'dropout=0..1:lin' ends in 'lin': expected 'log' or n"),
        (("--search", "dropout=0..1:log"), "is an empty range: expected 0 < LOW < HIGH"),
        (("--output", "full"), "full is not empty: expected a new or an empty folder"),
        (
            ("--resume", "full"),
            "--resume goes on with its own data and settings: expected no SOURCE",
        ),
        (
            ("--set", "class_weight=none", "--set", "lstm.forget_bias=none"),
            "lstm.forget_bias is none",
        ),
    ],
)
def test_bad_input_is_one_line(run, waves, tmp_path, arguments, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    status, out, err = run("tune", "classify", "waves.csv", *FEATURES, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("fastlstm: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "waves.csv"]


def test_nothing_to_choose_by(run, waves):
    options = (*FEATURES, *QUICK_OPTIONS, "--set", "validation=0", "--trials", 1, "--output", "x")
    status, _, err = run("tune", "classify", waves, *options)
    assert status == 2
    assert err.startswith("fastlstm: error: nothing is validated: expected a validation part")


def test_resume_of_something_else(run, waves, tmp_path):
    assert run("tune", "classify", "--resume", "none")[2] == (
        "fastlstm: error: cannot read none/tune.json: No such file or directory\n"
    )
    run("tune", "classify", waves, *FEATURES, *QUICK_OPTIONS, "--trials", 1, "--output", "found")
    status, _, err = run("tune", "text", "--resume", "found")
    expected = "found is a search of classify: expected 'fastlstm tune classify --resume'"
    assert (status, err) == (2, f"fastlstm: error: {expected}\n")
    file = tmp_path / "found" / "tune.json"
    without_space = {k: v for k, v in json.loads(file.read_text()).items() if k != "space"}
    for content, message in (
        ({}, "found/tune.json has format None: expected 1"),
        (without_space, "found/tune.json is damaged: KeyError('space')"),
        ({**without_space, "space": 1}, "found/tune.json is damaged: AttributeError("),
    ):
        file.write_text(json.dumps(content))
        status, _, err = run("tune", "classify", "--resume", "found")
        assert status == 2
        assert err.startswith(f"fastlstm: error: {message}")
