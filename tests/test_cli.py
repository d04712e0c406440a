"""The command line: what it prints, how it ends, what it leaves on the disk."""

import json
import re
import subprocess
import sys

import pytest
import torch

import fastlstm
from fastlstm.cli import main
from fastlstm.training import run_folder


@pytest.fixture(autouse=True)
def one_thread():
    """`train` sets the number of threads for the whole process: give it back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the command as a shell does, in an empty folder: status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fastlstm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        printed = capsys.readouterr()
        return exit_info.value.code, printed.out, printed.err

    return call


QUICK = ("train", "digits", "--epochs", 2, "--hidden-size", 11)


def without_seconds(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_train_prints_and_writes_a_run(run, tmp_path):
    status, out, err = run(*QUICK, "--output", "one")
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[:4] == [
        "digits: 1,293 training, 144 validation, 360 test images of 8x8 pixels",
        "LSTM of 11 units, 1,044 parameters",
        "",
        "  epoch    train loss    train accuracy    validation accuracy      time",
    ]
    assert [line.split()[0] for line in lines[4:6]] == ["1/2", "2/2"]
    assert re.fullmatch(r"test accuracy \d+\.\d\d% \(\d+ of 360 images\)", lines[7])
    assert lines[8:] == ["saved in one"]

    path = tmp_path / "one"
    assert sorted(file.name for file in path.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
    ]
    assert json.loads((path / "config.json").read_text()) == {
        "dataset": "digits",
        "epochs": 2,
        "hidden_size": 11,
        "batch_size": 64,
        "learning_rate": 0.008,
        "seed": 0,
        "threads": 1,
    }
    first, second, test = (
        json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()
    )
    assert list(first) == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "validation_accuracy",
        "seconds",
    ]
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert test["test_images"] == 360
    assert test["test_accuracy"] == test["test_correct"] / 360


def test_evaluate_prints_what_training_printed(run):
    _, out, _ = run(*QUICK, "--output", "one")
    trained = next(line for line in out.splitlines() if line.startswith("test accuracy"))
    assert run("evaluate", "one") == (0, trained + "\n", "")


def test_evaluate_gives_an_interrupted_run_its_score(run, monkeypatch, tmp_path):
    add_metrics = run_folder.RunFolder.add_metrics

    def interrupt_after_an_epoch(self, metrics):
        add_metrics(self, metrics)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder.RunFolder, "add_metrics", interrupt_after_an_epoch)
    status, _, err = run(*QUICK, "--output", "one")
    assert (status, err) == (130, "fastlstm: interrupted\n")
    assert len(without_seconds(tmp_path / "one")) == 1
    status, out, err = run("evaluate", "one")
    assert (status, err) == (0, "")
    assert out.startswith("test accuracy ")


def test_same_seed_same_run(run, tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        assert run(*QUICK, "--seed", seed, "--output", name)[0] == 0
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    assert without_seconds(one) == without_seconds(two)
    weights = [(path / "model.safetensors").read_bytes() for path in (one, two, three)]
    assert weights[0] == weights[1] != weights[2]


def test_default_settings_learn_the_digits(run, tmp_path):
    status, out, err = run("train", "digits")
    assert (status, err) == (0, "")
    (path,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"digits-\d{8}-\d{6}", path.name)
    assert out.endswith(f"saved in runs/{path.name}\n")
    assert without_seconds(path)[-1]["test_accuracy"] >= 0.96


def test_interrupt_before_the_first_epoch_ends_leaves_nothing(run, monkeypatch, tmp_path):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastlstm.tasks.image_rows.train_epochs", interrupt)
    status, _, err = run(*QUICK, "--output", "one")
    assert (status, err) == (130, "fastlstm: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "cifar"), "unknown data set 'cifar': expected digits or mnist"),
        (
            ("train", "digits", "--epochs", "0"),
            "epochs is 0: expected a whole number from 1 to 1,000,000",
        ),
        (
            ("train", "digits", "--hidden-size", "-3"),
            "hidden_size is -3: expected a whole number from 1 to 65,536",
        ),
        (
            ("train", "digits", "--batch-size", "0"),
            "batch_size is 0: expected a whole number from 1 to 1,000,000",
        ),
        (
            ("train", "digits", "--seed", "-1"),
            "seed is -1: expected a whole number from 0 to 4,294,967,295",
        ),
        (
            ("train", "digits", "--threads", "0"),
            "threads is 0: expected a whole number from 1 to 1,024",
        ),
        (
            ("train", "digits", "--learning-rate", "0"),
            "learning_rate is 0.0: expected a finite number above 0",
        ),
        (
            ("train", "digits", "--learning-rate", "nan"),
            "learning_rate is nan: expected a finite number above 0",
        ),
        (
            ("train", "digits", "--learning-rate", "1e30"),
            "the loss became nan in epoch 1: try a learning rate below 1e+30",
        ),
        (("evaluate", "one"), "one is not a folder: expected the folder of a training run"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, arguments, message):
    output = ("--output", "one") if arguments[0] == "train" else ()
    status, _, err = run(*arguments, *output)
    assert (status, err) == (2, f"fastlstm: error: {message}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("trian", "digits"), "trian"),
        (("train",), "DATASET"),
        (("train", "digits", "--epochs", "many"), "--epochs"),
        (("train", "digits", "--epocs", "3"), "--epocs"),
        (("train", "digits", "two words"), "two words"),
        (("evaluate",), "RUN"),
    ],
)
def test_wrong_usage_is_one_line_that_repeats_the_call(run, arguments, word):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    call = " ".join(f"'{part}'" if " " in part else part for part in arguments)
    assert re.fullmatch(f"fastlstm: error: in 'fastlstm {re.escape(call)}': .*{word}.*\n", err)


def test_model_that_does_not_fit_in_memory(run, monkeypatch, tmp_path):
    def allocate(*arguments):
        torch.empty(2**60)

    monkeypatch.setattr("fastlstm.tasks.image_rows.ImageRowClassifier", allocate)
    expected = "not enough memory: try a smaller hidden size or batch size"
    assert run(*QUICK, "--output", "one") == (2, "", f"fastlstm: error: {expected}\n")
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_not_empty(run, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "notes.txt").write_text("mine")
    status, out, err = run(*QUICK, "--output", "one")
    assert (status, out) == (2, "")
    expected = "one is not empty: expected a new or an empty folder"
    assert err == f"fastlstm: error: {expected}\n"


def test_missing_data_folder(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FASTLSTM_DATA", str(tmp_path / "nowhere"))
    status, out, err = run("train", "mnist")
    assert (status, out) == (2, "")
    path = tmp_path / "nowhere" / "mnist" / "train-images-idx3-ubyte.gz"
    assert err.startswith(f"fastlstm: error: {path} does not exist: FASTLSTM_DATA must name ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": None}, "the key 'epochs' is missing"),
        ({"dataset": "cifar"}, "unknown data set 'cifar': expected digits or mnist"),
        ({"dataset": ["digits"]}, "unknown data set ['digits']: expected digits or mnist"),
        ({"hidden_size": "11"}, "hidden_size is '11': expected a whole number from 1 to 65,536"),
        ({"epochs": True}, "epochs is True: expected a whole number from 1 to 1,000,000"),
        (
            {"layers": 2},
            "unknown key 'layers': expected dataset, epochs, hidden_size, batch_size, "
            "learning_rate, seed, threads",
        ),
    ],
)
def test_evaluate_a_config_with_a_fault(run, tmp_path, change, message):
    run(*QUICK, "--output", "one")
    path = tmp_path / "one" / "config.json"
    config = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    expected = f"fastlstm: error: one/config.json: {message}\n"
    assert run("evaluate", "one") == (2, "", expected)


def test_evaluate_weights_that_do_not_fit(run, tmp_path):
    run(*QUICK, "--output", "one")
    path = tmp_path / "one" / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 11', '"hidden_size": 12'))
    expected = (
        "fastlstm: error: one/model.safetensors does not fit one/config.json: "
        "head.weight is (10, 11), expected (10, 12)\n"
    )
    assert run("evaluate", "one") == (2, "", expected)


def test_version(run):
    assert run("--version") == (0, f"fastlstm {fastlstm.__version__}\n", "")


@pytest.mark.parametrize("arguments", [("--help",), ()])
def test_help_names_the_commands(run, arguments):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert "train" in out
    assert "evaluate" in out


# In a process of its own: modules that were imported once would hide the absence.
@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("typer", ["--version"]),
        ("sklearn", ["train", "digits"]),
        ("accelerate", ["train", "digits"]),
    ],
)
def test_missing_extra(tmp_path, extra, arguments):
    program = (
        f"import sys; sys.modules[{extra!r}] = None; sys.argv = ['fastlstm', *{arguments}]\n"
        "from fastlstm.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    expected = f"fastlstm: error: {extra} is not installed: pip install 'fastlstm[tasks]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert list(tmp_path.iterdir()) == []


def test_import_of_the_library_loads_no_extra():
    program = (
        "import sys, fastlstm, fastlstm.cli\n"
        "print(sorted({'typer', 'rich', 'sklearn', 'pooch', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
