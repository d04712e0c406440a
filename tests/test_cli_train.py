"""`fastlstm train`, `evaluate` and `predict`: what they print, how they end, what they leave."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from run_data import (
    QUICK_OPTIONS,
    WRITERS,
    text_rows,
    wave_rows,
    write_csv,
    write_images,
)

FEATURES = ("--features", "t0,t1,t2", "--features", "t3,t4,t5")
QUICK = (*FEATURES, *QUICK_OPTIONS)
DIGITS = ("train", "classify", "digits", "--epochs", 2, "--hidden-size", 11)


@pytest.fixture
def waves(tmp_path):
    return write_csv(tmp_path / "waves.csv", wave_rows())


def without_seconds(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def table_of(out):
    """The rows of the score table: metric and value."""
    found = re.findall(r"^ ?(\w[\w ]*?) {3,}([\d.]+)", out, re.MULTILINE)
    return {name: value for name, value in found if not name[0].isdigit()}


def test_train_prints_and_writes_a_run(run, tmp_path):
    status, out, err = run(*DIGITS, "--output", "one")
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[:2] == ["digits: 1,293 training, 144 validation, 360 test images", ""]
    assert lines[2].split()[:3] == ["epoch", "train", "loss"]
    assert [line.split()[0] for line in lines[3:5]] == ["1/2", "2/2"]
    assert list(table_of(out)) == ["accuracy", "balanced accuracy", "macro F1", "log loss"]
    expected = r"trained in [\d.]+\s(s|min.*), saved in one; look at one/report\.html"
    assert re.fullmatch(expected, lines[-1])
    found = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert found == ["model", "report.html", "run.json", "scores.json"]


def test_default_folder(run, waves, tmp_path):
    status, out, err = run("train", "classify", waves, *QUICK)
    assert (status, err) == (0, "")
    (path,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"waves-\d{8}-\d{6}", path.name)
    assert f"saved in runs/{path.name};" in out
    # The run is on the folder that was given, whatever the present one is.
    assert json.loads((path / "run.json").read_text())["data"]["source"] == str(waves)


def test_same_seed_same_run(run, waves, tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        assert run("train", "classify", waves, *QUICK, "--seed", seed, "--output", name)[0] == 0
    one, two, three = (tmp_path / name / "model" for name in ("one", "two", "three"))
    assert without_seconds(one) == without_seconds(two)
    weights = [(path / "model.safetensors").read_bytes() for path in (one, two, three)]
    assert weights[0] == weights[1] != weights[2]


def test_evaluate_prints_what_training_printed(run, waves, monkeypatch, tmp_path):
    _, out, _ = run("train", "classify", waves, *QUICK, "--output", "one")
    before = (tmp_path / "one" / "scores.json").read_text()
    monkeypatch.chdir("/")
    status, again, err = run("evaluate", tmp_path / "one")
    assert (status, err) == (0, "")
    assert table_of(again) == table_of(out)
    after = (tmp_path / "one" / "scores.json").read_text()
    assert json.loads(after)["scores"] == json.loads(before)["scores"]


def test_evaluate_on_another_file(run, waves, tmp_path):
    run("train", "classify", waves, *QUICK, "--output", "one")
    rows = wave_rows(20, seed=9)
    for row in rows:
        row["label"] = {"up": "down", "down": "up"}[str(row["label"])]
    other = write_csv(tmp_path / "other.csv", rows)
    before = (tmp_path / "one" / "scores.json").read_text()
    status, out, err = run("evaluate", "one", other)
    assert (status, err) == (0, "")
    assert table_of(out)["accuracy"] == "0.00"
    assert (tmp_path / "one" / "scores.json").read_text() == before


SETTINGS_FILES = {
    ".toml": 'pooling = "mean"\n[training]\nepochs = 1\n',
    ".yaml": "pooling: mean\ntraining:\n  epochs: 1\n",
    ".json": '{"pooling": "mean", "training": {"epochs": 1}}',
}


@pytest.mark.parametrize("suffix", SETTINGS_FILES)
def test_settings_from_a_file_and_from_options(run, waves, tmp_path, suffix):
    file = tmp_path / f"settings{suffix}"
    file.write_text(SETTINGS_FILES[suffix])
    options = ("--config", file, "--set", "lstm.hidden_size=5", "--batch-size", 16)
    status, _, err = run("train", "classify", waves, *FEATURES, *options, "--output", "one")
    assert (status, err) == (0, "")
    found = json.loads((tmp_path / "one" / "run.json").read_text())["settings"]
    assert found["pooling"] == "mean"
    assert found["lstm"]["hidden_size"] == 5
    training = found["training"]
    assert (training["epochs"], training["batch_size"]) == (1, 16)
    saved = json.loads((tmp_path / "one" / "model" / "config.json").read_text())
    assert saved["parameters"]["pooling"] == "mean"
    assert saved["parameters"]["training"]["batch_size"] == 16


@pytest.mark.parametrize("given", WRITERS)
@pytest.mark.parametrize("written", [*WRITERS, ".tsv"])
def test_predict_keeps_the_columns(run, waves, tmp_path, given, written):
    run("train", "classify", waves, *QUICK, "--output", "one")
    rows = [{k: v for k, v in row.items() if k != "label"} for row in wave_rows(9, seed=2)]
    file = WRITERS[given](tmp_path / f"new{given}", rows)
    status, out, err = run("predict", "one", file, "--output", f"out{written}")
    assert (status, out, err) == (0, f"9 predictions in out{written}\n", "")
    from fastlstm.data import read_table

    table = read_table(tmp_path / f"out{written}").to_pylist()
    expected = [row["label"] for row in wave_rows(9, seed=2)]
    assert [row.pop("prediction") for row in table] == expected
    assert all(0.5 < row.pop("probability") <= 1 for row in table)
    assert table == rows
    assert not list(tmp_path.glob(".*partial"))


def test_predict_on_the_standard_output(run, waves):
    run("train", "classify", waves, *QUICK, "--output", "one")
    status, out, err = run("predict", "one", waves)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    head = "name,t0,t1,t2,t3,t4,t5,label,prediction,probability"
    assert lines[0].replace('"', "") == head
    assert len(lines) == 61


def test_predict_texts_a_line_each(run, tmp_path):
    file = write_csv(tmp_path / "texts.csv", text_rows())
    status, _, err = run("train", "text", file, *QUICK_OPTIONS, "--output", "one")
    assert (status, err) == (0, "")
    (tmp_path / "new.txt").write_text("great fun\nno fun\n")
    assert run("predict", "one", "new.txt", "--output", "out.txt")[0] == 0
    assert set((tmp_path / "out.txt").read_text().splitlines()) <= {"good", "bad"}


def test_images(run, tmp_path):
    write_images(tmp_path / "sides")
    options = ("--by", "pixels", "--size", "4,4", *QUICK_OPTIONS)
    status, out, err = run("train", "classify", "sides", *options, "--output", "one")
    assert (status, err) == (0, "")
    first = "sides: 19 training, 5 test images (20% of the examples, drawn class by class, held out"
    assert out.startswith(first)
    status, out, err = run("predict", "one", "sides/left")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 13


ONE_EPOCH = ("--epochs", 1, "--hidden-size", 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar",), "cifar is no data set for classify and no file: expected digits, mnist, or a"),
        ((), "missing SOURCE: expected digits, mnist, or a path"),
        (("digits", "--epochs", 0), "training.epochs=0: epochs is 0: expected at least 1"),
        (("digits", "--epochs", "x"), "training.epochs=x: epochs is 'x': expected a whole number"),
        (("digits", "--hidden-size", -3), "lstm.hidden_size=-3: hidden_size must be"),
        (("digits", "--precision", "int4"), "training.precision=int4: precision is 'int4': exp"),
        (("digits", "--set", "poling=max"), "unknown key poling: did you mean pooling?"),
        (("digits", "--set", "pooling"), "'pooling' sets nothing: expected NAME=VALUE"),
        (
            ("digits", "--by", "columns"),
            "by=columns: by is 'columns': expected one of rows, pixels",
        ),
        (("digits", "--size", "3"), "size=3: size is '3': expected a list of 2"),
        (("digits", "--test-share", "much"), "test_share=much: test_share is 'much': expected a n"),
        (("digits", "--test", "waves.csv"), "digits has a test part of its own: expected no file"),
        (("digits", "--config", "none.toml"), "cannot read none.toml: No such file or directory"),
        (
            ("waves.csv", *FEATURES, "--test-share", 2),
            "the share to hold out is 2.0: expected more than 0",
        ),
        (("waves.csv", "--label", "kind"), "waves.csv has no column 'kind': it has name, t0"),
        (("waves.csv",), "column 'name' holds 'w0' in row 1: expected numbers"),
        (("waves.csv", *FEATURES, "--test", "no.csv"), "no.csv does not exist"),
        (("digits", "--output", "full"), "full is not empty: expected a new or an empty folder"),
        (("--resume", "full"), "cannot read full/run.json: No such file or directory"),
        (("--resume", "nowhere"), "nowhere is not a folder: expected the folder of a run"),
        (("digits", "--resume", "full"), "--resume goes on with its own data and settings: expect"),
        (("--resume", "full", "--batch-size", 4), "expected no --batch-size"),
    ],
)
def test_bad_input_is_one_line(run, waves, tmp_path, arguments, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    status, out, err = run("train", "classify", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("fastlstm: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "waves.csv"]


def test_a_setting_that_the_network_refuses(run, tmp_path):
    status, _, err = run("train", "classify", "digits", "--set", "pooling=sum", "--output", "one")
    expected = "pooling must be one of last, mean, max, concat, attention, got 'sum'"
    assert (status, err) == (2, f"fastlstm: error: {expected}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite(run, waves):
    options = (*FEATURES, "--learning-rate", "1e30", "--epochs", 3, "--output", "one")
    status, _, err = run("train", "classify", waves, *options)
    assert status == 2
    assert re.match(r"fastlstm: error: .*(not finite|nan|inf).*\n", err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "nowhere"), "nowhere is not a folder: expected the folder of a run"),
        (("evaluate", "one", "no.csv"), "no.csv does not exist: expected a file to measure the ru"),
        (
            ("evaluate", "one", "other.csv"),
            "unknown label 'sideways': expected one of 'down', 'up'",
        ),
        (("predict", "one", "no.csv"), "no.csv does not exist: expected a file or a folder"),
        (("predict", "one", "waves.csv", "--output", "out.xlsx"), "cannot write out.xlsx: expecte"),
        (("predict", "one", "waves.csv", "--output", "no/out.csv"), "there is no folder no"),
        (("predict", "one", "waves.csv", "--output", "waves.csv"), "waves.csv is the file to pred"),
        (("predict", "one", "done.csv"), "done.csv has a column 'prediction' already: rename it"),
        (("predict", "one", "few.csv"), "few.csv has no column 't1': it has t0"),
        (("predict", "one", "empty"), "empty holds no images: expected one of .png"),
    ],
)
def test_bad_input_to_a_run(run, waves, tmp_path, arguments, message):
    run("train", "classify", waves, *QUICK, "--output", "one")
    rows = wave_rows(4)
    write_csv(tmp_path / "other.csv", [{**row, "label": "sideways"} for row in rows])
    write_csv(tmp_path / "done.csv", [{**row, "prediction": "up"} for row in rows])
    write_csv(tmp_path / "few.csv", [{"t0": 1.0}])
    (tmp_path / "empty").mkdir()
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("fastlstm: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_missing_data_folder(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FASTLSTM_DATA", str(tmp_path / "nowhere"))
    status, out, err = run("train", "classify", "mnist")
    assert (status, out) == (2, "")
    path = tmp_path / "nowhere" / "mnist" / "train-images-idx3-ubyte.gz"
    assert err.startswith(f"fastlstm: error: {path} does not exist: FASTLSTM_DATA must name ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def start_child(folder, arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "fastlstm.cli", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path, child):
    deadline = time.monotonic() + 60
    while not path.exists() and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("number", "after"),
    [
        (signal.SIGINT, "model/model.safetensors"),
        pytest.param(signal.SIGKILL, "run.json", marks=pytest.mark.heavy),
        (signal.SIGKILL, "model/checkpoint.safetensors"),
    ],
)
def test_resume_ends_as_if_nothing_had_stopped_it(run, waves, tmp_path, number, after):
    options = (*FEATURES, "--hidden-size", 7, "--epochs", 8, "--set", "training.batch_size=8")
    often = ("--set", "training.checkpoint_seconds=0", "--output", "my run")
    child = start_child(tmp_path, ["train", "classify", waves, *options, *often])
    wait_for(tmp_path / "my run" / after, child)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    if number == signal.SIGINT:
        assert child.returncode == 130
        assert re.fullmatch(
            r"fastlstm: interrupted in epoch \d+ after \d of 6 batches; to go on: "
            r"fastlstm train classify --resume 'my run'\n",
            err,
        )
        # It has scores all the same, of its best epoch so far.
        assert run("evaluate", "my run")[0] == 0
    assert child.returncode != 0
    status, out, err = run("train", "classify", "--resume", "my run")
    assert (status, err) == (0, "")
    assert after == "run.json" or re.search(r"resumed in epoch \d+ of 8", out)
    assert run("train", "classify", waves, *options, "--output", "whole")[0] == 0
    one, two = (tmp_path / name / "model" for name in ("my run", "whole"))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert without_seconds(one) == without_seconds(two)


def test_two_processes_train_one_run(run, waves, tmp_path):
    # Without dropout: each process draws its own.
    options = ["train", "classify", str(waves), *QUICK, "--set", "dropout=0", "--output"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, "-m", "fastlstm.cli", *options, "two"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained in") == 1
    assert run(*options, "one")[0] == 0
    one, two = (json.loads((tmp_path / n / "scores.json").read_text()) for n in ("one", "two"))
    for name, found in one["scores"].items():
        assert two["scores"][name]["value"] == pytest.approx(found["value"], abs=1e-3)


@pytest.mark.heavy
def test_default_settings_learn_the_digits(run, tmp_path):
    status, _, err = run("train", "classify", "digits", "--output", "one")
    assert (status, err) == (0, "")
    scores = json.loads((tmp_path / "one" / "scores.json").read_text())
    assert scores["scores"]["accuracy"]["value"] >= 0.95


def test_resume_of_another_task(run, waves):
    run("train", "classify", waves, *QUICK, "--output", "one")
    status, _, err = run("train", "text", "--resume", "one")
    expected = "one is a run of classify: expected 'fastlstm train classify --resume'"
    assert (status, err) == (2, f"fastlstm: error: {expected}\n")
