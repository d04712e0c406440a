"""The training loop, the run folder and the progress display."""

import io
import json
import os
import re

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import TensorDataset

from fastlstm.training import run_folder
from fastlstm.training.loop import (
    EpochMetrics,
    RunningMetrics,
    TrainingError,
    count_correct,
    learning_rate_factor,
    train_epochs,
)
from fastlstm.training.progress import TrainingProgress
from fastlstm.training.run_folder import (
    RunFolder,
    RunFolderError,
    check_output,
    load_weights,
    read_config,
)


@pytest.fixture
def separable():
    """Two clouds of points, 75 in all, and a linear model that can tell them apart."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(75) % 2
    inputs = torch.randn(75, 3, generator=generator) + 4.0 * labels[:, None]
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    return model, TensorDataset(inputs, labels)


def train(model, examples, **changes):
    options = dict(
        epochs=6, batch_size=10, learning_rate=0.1, seed=0, on_batch=lambda metrics: None
    )
    return list(train_epochs(model, examples, examples, **{**options, **changes}))


def test_learns_and_counts(separable):
    model, examples = separable
    batches = []
    epochs = train(model, examples, on_batch=batches.append)
    assert [metrics.epoch for metrics in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].train_loss < 0.2 < epochs[0].train_loss
    assert epochs[-1].validation_accuracy == count_correct(model, examples) / 75 > 0.95
    assert all(metrics.seconds > 0 for metrics in epochs)
    # 75 examples in batches of 10: the last of an epoch has 5.
    assert [metrics.examples for metrics in batches[:8]] == [10, 20, 30, 40, 50, 60, 70, 75]
    assert batches[7].loss == epochs[0].train_loss
    assert batches[7].accuracy == epochs[0].train_accuracy


def test_first_loss_is_the_mean_over_examples_before_any_update(separable):
    model, examples = separable
    first = train(model, examples, epochs=1, batch_size=75)[0]
    # Zero weights give two equal logits: a loss of log 2, and every argmax is class 0.
    assert first.train_loss == pytest.approx(0.693147, abs=1e-5)
    assert first.train_accuracy == 38 / 75


def test_seed_decides_the_order_and_nothing_else_is_random(separable):
    model, examples = separable
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def losses(seed):
        model.load_state_dict(start)
        return [metrics.train_loss for metrics in train(model, examples, seed=seed)]

    torch.manual_seed(1)
    first = losses(seed=3)
    torch.manual_seed(2)
    assert losses(seed=3) == first
    assert losses(seed=4) != first


def test_global_random_state_is_not_touched(separable):
    state = torch.get_rng_state()
    train(*separable)
    assert torch.equal(torch.get_rng_state(), state)


def test_loss_that_is_not_finite_ends_the_training(separable):
    model, examples = separable
    examples.tensors[0][17, 1] = float("nan")
    expected = "the loss became nan in epoch 1: try a learning rate below 0.1"
    with pytest.raises(TrainingError, match=f"^{re.escape(expected)}$"):
        train(model, examples)


@pytest.mark.parametrize("total_steps", [1, 2, 7, 100])
def test_learning_rate_rises_to_its_peak_and_falls_to_zero(total_steps):
    factors = [learning_rate_factor(step, total_steps) for step in range(total_steps + 1)]
    peak = factors.index(1.0)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert min(factors[:-1]) > 0
    assert factors[-1] == pytest.approx(0, abs=1e-12)


@pytest.fixture
def model():
    return nn.Linear(3, 2)


def files_of(path):
    return sorted(file.name for file in path.iterdir())


def test_run_folder_round_trip(tmp_path, model):
    path = tmp_path / "some" / "run"
    with RunFolder(path, {"epochs": 2}) as run:
        assert files_of(path) == ["config.json"]
        run.save_weights(model.state_dict())
        run.add_metrics({"epoch": 1, "train_loss": 0.5})
        run.add_metrics({"epoch": 2, "train_loss": 0.25})
    assert files_of(path) == ["config.json", "metrics.jsonl", "model.safetensors"]
    assert read_config(path) == {"epochs": 2}
    lines = (path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["train_loss"] for line in lines] == [0.5, 0.25]
    other = nn.Linear(3, 2)
    load_weights(path, other)
    assert torch.equal(other.weight, model.weight)


def test_run_without_an_epoch_leaves_nothing(tmp_path, model):
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path / "run", {}) as run:
        run.save_weights(model.state_dict())
        raise KeyboardInterrupt
    assert files_of(tmp_path) == []


def test_run_without_an_epoch_gives_an_empty_folder_back(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path, {}):
        raise KeyboardInterrupt
    assert files_of(tmp_path) == []


def test_run_with_an_epoch_keeps_it(tmp_path, model):
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path / "run", {}) as run:
        run.save_weights(model.state_dict())
        run.add_metrics({"epoch": 1})
        raise KeyboardInterrupt
    assert files_of(tmp_path / "run") == ["config.json", "metrics.jsonl", "model.safetensors"]


def test_write_that_fails_leaves_the_file_as_it_was(tmp_path, model, monkeypatch):
    run = RunFolder(tmp_path / "run", {})
    run.save_weights(model.state_dict())
    before = (run.path / "model.safetensors").read_bytes()

    def fail(source, target):
        assert source.read_bytes() != before
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    expected = f"cannot write {run.path / 'model.safetensors'}: No space left on device"
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        run.save_weights(nn.Linear(3, 2).state_dict())
    assert (run.path / "model.safetensors").read_bytes() == before
    assert files_of(run.path) == ["config.json", "model.safetensors"]


def test_interrupt_in_the_middle_of_a_write_leaves_no_half_file(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path / "run", {"epochs": 2})
    assert files_of(tmp_path) == []


def test_output_that_is_not_empty(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    expected = f"{tmp_path} is not empty: expected a new or an empty folder"
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        check_output(tmp_path)


def test_output_that_is_a_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    expected = f"{path} is a file: expected a new or an empty folder"
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        check_output(path)
    expected = f"cannot write {path / 'run'}: {path} is not a folder"
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        check_output(path / "run")


def test_output_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    expected = f"cannot write {tmp_path / 'run'}: no permission to write in {tmp_path}"
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        check_output(tmp_path / "run")


def test_output_that_is_free(tmp_path):
    check_output(tmp_path)
    check_output(tmp_path / "new" / "run")
    assert files_of(tmp_path) == []


@pytest.fixture
def saved_run(tmp_path, model):
    with RunFolder(tmp_path / "run", {"epochs": 2}) as run:
        run.save_weights(model.state_dict())
        run.add_metrics({"epoch": 1})
    return run.path


def test_reading_a_missing_folder(tmp_path):
    expected = f"{tmp_path / 'run'} is not a folder: expected the folder of a training run"
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        read_config(tmp_path / "run")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_reading_a_missing_file(saved_run, model, name):
    (saved_run / name).unlink()
    expected = (
        f"{saved_run / name} does not exist: expected the folder of a run that completed an epoch"
    )
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        read_config(saved_run)
        load_weights(saved_run, model)


@pytest.mark.parametrize("content", [b'{"epochs": ', b"\xff\xfe\x00", b""])
def test_reading_a_config_that_is_not_json(saved_run, content):
    (saved_run / "config.json").write_bytes(content)
    expected = f"{saved_run / 'config.json'} is not valid JSON: "
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}"):
        read_config(saved_run)


def test_reading_a_config_that_is_no_object(saved_run):
    (saved_run / "config.json").write_text("[1]")
    expected = f"{saved_run / 'config.json'} holds no JSON object: expected {{...}}"
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        read_config(saved_run)


@pytest.mark.parametrize("damage", [lambda c: c[:-3], lambda c: b"", lambda c: b"\xff" * 40])
def test_reading_damaged_weights(saved_run, model, damage):
    path = saved_run / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunFolderError, match=f"^{re.escape(str(path))} is damaged: "):
        load_weights(saved_run, model)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (nn.Linear(4, 2), "weight is (2, 3), expected (2, 4)"),
        (nn.Linear(3, 2, bias=False), "bias is (2,), expected no such tensor"),
        (nn.Sequential(nn.Linear(3, 2)), "0.bias is missing, expected (2,)"),
    ],
)
def test_reading_weights_of_another_model(saved_run, other, difference):
    expected = (
        f"{saved_run / 'model.safetensors'} does not fit {saved_run / 'config.json'}: {difference}"
    )
    with pytest.raises(RunFolderError, match=f"^{re.escape(expected)}$"):
        load_weights(saved_run, other)


def show(terminal):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=80)
    with TrainingProgress(console, epochs=10, examples_per_epoch=500) as progress:
        progress.show_batch(RunningMetrics(epoch=1, examples=250, loss=1.25, accuracy=0.5))
        progress.show_epoch(EpochMetrics(1, 0.75, 0.8125, 0.9, 12.34))
        progress.show_batch(RunningMetrics(epoch=2, examples=500, loss=0.5, accuracy=1.0))
    return stream.getvalue()


def test_progress_in_a_terminal_has_a_bar_that_fits():
    text = show(terminal=True)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    bar = [line for line in re.split(r"[\r\n]+", plain) if line.startswith("  2/10 ")][-1]
    assert "loss 0.5000  accuracy 100.00%" in bar
    assert bar.rstrip().endswith("left")
    # Two columns fewer than the terminal has, for the ^C of an interrupt.
    assert len(bar.rstrip()) <= 78


def test_progress_elsewhere_is_plain_lines():
    assert show(terminal=False) == (
        "  epoch    train loss    train accuracy    validation accuracy      time\n"
        "  1/10         0.7500            81.25%                 90.00%    12.3 s\n"
    )


def test_files_are_named_as_documented():
    names = (run_folder.CONFIG, run_folder.WEIGHTS, run_folder.METRICS)
    assert names == ("config.json", "model.safetensors", "metrics.jsonl")
