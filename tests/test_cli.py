"""The command line as a whole: help, versions, what it loads, how it ends."""

import re
import subprocess
import sys

import pytest
import torch

import fastlstm
from fastlstm.cli import information

COMMANDS = ["train", "tune", "evaluate", "predict", "data", "bench", "info"]


def test_version(run):
    assert run("--version") == (0, f"fastlstm {fastlstm.__version__}\n", "")


def commands_in(help_text):
    """The names in the panel of the commands."""
    panel = help_text.partition("─ Commands ")[2]
    return re.findall(r"^│ (\w+)  ", panel, re.MULTILINE)


@pytest.mark.parametrize("arguments", [("--help",), ()])
def test_help_names_the_commands_in_order(run, arguments):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert commands_in(out) == COMMANDS
    assert "--install-completion" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("group", ["train", "tune"])
@pytest.mark.parametrize("option", [(), ("--help",)])
def test_help_names_the_tasks(run, group, option):
    status, out, err = run(group, *option)
    assert (status, err) == (0, "")
    assert commands_in(out) == ["classify", "text", "tag", "forecast"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("train", "classify"), ["[SOURCE]", "digits, mnist, or the path of your own data"]),
        (("train", "classify"), ["--label", "NAME,…", "--by", "rows|pixels", "[default: rows]"]),
        (("train", "classify"), ["--epochs", "--hidden-size", "--set", "--config", "--resume"]),
        (("train", "text"), ["--text", "[default: text]", "movie-reviews"]),
        (("tune", "classify"), ["--trials", "--search", "[default: 20]"]),
        (("predict",), ["RUN", "INPUT", "--output"]),
        (("evaluate",), ["RUN", "[FILE]"]),
        (("data",), ["list", "get"]),
    ],
)
def test_help_of_a_command(run, arguments, expected):
    status, out, err = run(*arguments, "--help")
    assert (status, err) == (0, "")
    for text in expected:
        assert text in out
    assert "`" not in out
    assert "None" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("trian", "digits"), "trian"),
        (("train", "clasify", "digits"), "clasify"),
        (("train", "classify", "digits", "--epocs", "3"), "--epocs"),
        (("train", "classify", "digits", "two words"), "two words"),
        (("tune", "classify", "digits", "--trials", "many"), "--trials"),
        (("evaluate",), "RUN"),
        (("predict", "one"), "INPUT"),
        (("data", "get"), "NAME"),
    ],
)
def test_wrong_usage_is_one_line_that_repeats_the_call(run, arguments, word):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    call = " ".join(f"'{part}'" if " " in part else part for part in arguments)
    assert re.fullmatch(f"fastlstm: error: in 'fastlstm {re.escape(call)}': .*{word}.*\n", err)


def program(*arguments: str, absent: str = "") -> str:
    """A program that calls the command, in a process without some package."""
    hide = f"sys.modules[{absent!r}] = None; " if absent else ""
    return (
        f"import sys; {hide}sys.argv = ['fastlstm', *{arguments}]\n"
        "from fastlstm.cli import main; main()"
    )


# In a process of its own: modules that were imported once would hide the absence.
@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("typer", ["--version"]),
        ("sklearn", ["train", "classify", "digits"]),
        ("accelerate", ["train", "classify", "digits"]),
        ("optuna", ["tune", "classify", "digits", "--trials", "1", "--output", "out"]),
    ],
)
def test_missing_extra(tmp_path, extra, arguments):
    done = subprocess.run(
        [sys.executable, "-c", program(*arguments, absent=extra)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    expected = f"fastlstm: error: {extra} is not installed: pip install 'fastlstm[tasks]'\n"
    assert (done.returncode, done.stderr) == (2, expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_waits_for_nothing_heavy(arguments):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program(*arguments)],
        capture_output=True,
        text=True,
        env={"PATH": ""},
    )
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in loaded
    heavy = {"sklearn", "scipy", "pandas", "pyarrow", "accelerate", "optuna", "tokenizers"}
    assert not heavy & loaded


def test_import_of_the_library_loads_no_extra():
    code = (
        "import sys, fastlstm, fastlstm.cli\n"
        "print(sorted({'typer', 'rich', 'sklearn', 'pooch', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_network_that_does_not_fit_in_memory(run, monkeypatch, tmp_path):
    def allocate(*arguments):
        torch.empty(2**60)

    monkeypatch.setattr("fastlstm.tasks.sequence_classifier.SequenceNetwork", allocate)
    expected = "not enough memory: try a smaller hidden size or batch size"
    status, _, err = run("train", "classify", "digits", "--output", "one")
    assert (status, err) == (2, f"fastlstm: error: {expected}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_program_is_no_bad_input(run, monkeypatch):
    def fail(self, data):
        raise ZeroDivisionError

    monkeypatch.setattr("fastlstm.runs.classification.Classification.read", fail)
    monkeypatch.setattr(sys, "argv", ["fastlstm", "train", "classify", "digits"])
    from fastlstm.cli import main

    with pytest.raises(ZeroDivisionError):
        main()


def test_ctrl_c_while_reading(run, monkeypatch, tmp_path):
    def interrupt(self, data):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastlstm.runs.classification.Classification.read", interrupt)
    assert run("train", "classify", "digits") == (130, "", "fastlstm: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_info(run):
    status, out, err = run("info")
    assert (status, err) == (0, "")
    names = [re.split(r"  +", line)[0] for line in out.splitlines()]
    assert names[:3] == ["fastlstm", "torch", "numpy"]
    on_gpu = ["back end on the GPU", "CUDA", "cuDNN", "triton"]
    assert names[names.index("system") :] == [
        "system",
        "back end on the CPU",
        "instruction set",
        "cores",
        "GPU",
        *(on_gpu if torch.cuda.is_available() else ()),
        "data",
    ]
    assert re.search(r"back end on the CPU +(engine|reference)", out)


def test_info_on_a_gpu(monkeypatch):
    asked = []

    def backend(device, **switches):
        asked.append((device, switches))
        return "triton-step" if switches else "cudnn"

    monkeypatch.setattr(information, "_backend", backend)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA H100")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    facts = information.facts()
    assert facts["GPU"] == "NVIDIA H100"
    assert facts["back end on the GPU"] == "cudnn; with layer norm triton-step"
    assert ("cuda", {"layer_norm": True}) in asked


def test_data_list(run):
    status, out, err = run("data", "list")
    assert (status, err) == (0, "")
    names = re.findall(r"^([\w-]+) +(?:classify|text|tag|forecast) ", out, re.MULTILINE)
    assert names == [
        "airline",
        "digits",
        "ett",
        "gesture-phase",
        "mnist",
        "movie-reviews",
        "sunspots",
        "ud-ewt",
    ]


def test_data_get(run):
    expected = "digits comes inside scikit-learn: there is nothing to fetch\n"
    assert run("data", "get", "digits") == (0, expected, "")
    status, out, err = run("data", "get", "cifar")
    assert (status, out) == (2, "")
    assert err.startswith("fastlstm: error: unknown data set 'cifar': expected one of airline, ")


def test_data_get_shows_the_files(run, monkeypatch, tmp_path):
    monkeypatch.setattr("fastlstm.cli.sets.get_source", lambda name: [tmp_path / f"{name}.csv"])
    assert run("data", "get", "airline") == (0, f"{tmp_path / 'airline.csv'}\n", "")
