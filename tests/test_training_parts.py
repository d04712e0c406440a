"""The parts of the training loop: batches, schedules, settings, trees of tensors, the folder."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy
import pytest
import torch
from rich.console import Console
from torch import nn

from fastlstm.config import ConfigError
from fastlstm.training import (
    BatchesDone,
    EpochDone,
    Metric,
    RunFolder,
    RunFolderError,
    Started,
    TrainingConfig,
    TrainingDisplay,
    TrainingError,
    lr_find,
    map_tensors,
)
from fastlstm.training.batches import count_batches, evaluation_batches, share, training_batches
from fastlstm.training.examples import is_finite
from fastlstm.training.schedule import learning_rate
from fastlstm.training.updates import make_optimizer
from training_cases import make_clouds, make_config, make_objective


def lists(batches: list[numpy.ndarray]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("lengths", [None, [7 - index % 5 for index in range(23)]])
def test_each_epoch_has_each_example_once(lengths: list[int] | None) -> None:
    batches = lists(training_batches(23, 5, 3, 1, lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(23))
    assert sorted(map(len, batches)) == [3, 5, 5, 5, 5]
    assert len(batches) == count_batches(23, 5)
    assert batches == lists(training_batches(23, 5, 3, 1, lengths))
    assert batches != lists(training_batches(23, 5, 3, 2, lengths))
    assert batches != lists(training_batches(23, 5, 4, 1, lengths))


def test_batches_are_of_similar_lengths_in_random_order() -> None:
    lengths = numpy.random.default_rng(0).integers(1, 100, 1000).tolist()
    batches = lists(training_batches(1000, 10, 0, 1, lengths))
    padded = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
    assert sum(lengths) < padded < 1.2 * sum(lengths)  # without buckets 1.8 times
    means = [numpy.mean([lengths[index] for index in batch]) for batch in batches]
    assert abs(numpy.corrcoef(means, range(100))[0, 1]) < 0.3
    # Which examples meet in a batch differs from epoch to epoch.
    others = lists(training_batches(1000, 10, 0, 2, lengths))
    same = {frozenset(batch) for batch in batches} & {frozenset(batch) for batch in others}
    assert len(same) < 5


def test_evaluation_batches() -> None:
    assert lists(evaluation_batches(5, 2, None)) == [[0, 1], [2, 3], [4]]
    assert lists(evaluation_batches(5, 2, [3, 1, 2, 1, 3])) == [[1, 3], [2, 0], [4]]


def test_shares() -> None:
    three, one = numpy.array([7, 8, 9]), numpy.array([7])
    assert [share(three, process, 2) for process in (0, 1)] == [([7, 9], 1.0), ([8], 1.0)]
    assert [share(one, process, 2) for process in (0, 1)] == [([7], 1.0), ([7], 0.0)]
    assert share(three, 0, 1) == ([7, 8, 9], 1.0)


@pytest.mark.parametrize(
    ("schedule", "warm_up", "expected"),
    [
        ("one_cycle", None, [0.0, 1 / 3, 1.0, 0.5, 0.0]),
        ("one_cycle", 0.05, [0.0, 1.0, None, None, 0.0]),
        ("cosine", None, [1.0, None, None, None, 0.0]),
        ("constant", None, [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("constant", 0.1, [0.0, 0.5, 1.0, 1.0, 1.0]),
        ("plateau", None, [0.25, 0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_schedules(schedule: str, warm_up: float | None, expected: list[float | None]) -> None:
    config = make_config(schedule=schedule, warm_up=warm_up, learning_rate=2.0)
    plateau = 0.25 if schedule == "plateau" else 1.0
    shares = (0.0, 0.05, 0.15, 0.575, 1.0)
    for passed, value in zip(shares, expected, strict=True):
        if value is not None:
            found = learning_rate(config, passed, plateau)
            assert found == pytest.approx(2.0 * value, abs=1e-12)


def test_cosine_is_half_way_at_half_time() -> None:
    config = make_config(schedule="cosine", learning_rate=2.0)
    assert learning_rate(config, 0.5, 1.0) == pytest.approx(1.0)
    assert learning_rate(config, 0.25, 1.0) == pytest.approx(1.0 + 0.5**0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0: expected at least 1"),
        ({"batch_size": 0}, "batch_size is 0: expected at least 1"),
        ({"accumulate": 0}, "accumulate is 0: expected at least 1"),
        ({"patience": 0}, "patience is 0: expected at least 1"),
        ({"threads": 0}, "threads is 0: expected at least 1"),
        ({"truncate_steps": 0}, "truncate_steps is 0: expected at least 1"),
        ({"plateau_epochs": 0}, "plateau_epochs is 0: expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: expected more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: expected more than 0"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm is 0.0: expected more than 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1: expected 0 or more"),
        ({"checkpoint_seconds": -1.0}, "checkpoint_seconds is -1.0: expected 0 or more"),
        ({"betas": (0.9, 1.0)}, "betas is (0.9, 1.0): expected two numbers from 0 to less than 1"),
        ({"warm_up": 1.0}, "warm_up is 1.0: expected from 0 to less than 1"),
        ({"plateau_factor": 1.0}, "plateau_factor is 1.0: expected between 0 and 1"),
        ({"seed": -1}, "seed is -1: expected from 0 to less than 2^32"),
    ],
)
def test_settings_out_of_range(change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrainingConfig(**change)
    assert str(error.value) == message


def test_defaults_suit_lstms() -> None:
    config = TrainingConfig()
    assert (config.betas, config.schedule, config.max_gradient_norm) == (
        (0.9, 0.99),
        "one_cycle",
        1,
    )


def test_weight_decay_spares_biases() -> None:
    network = make_objective().network
    optimizer = make_optimizer(list(network.parameters()), make_config(weight_decay=0.3))
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    found = {name: decays[id(parameter)] for name, parameter in network.named_parameters()}
    assert found == {name: 0.0 if "bias" in name else 0.3 for name in found}
    assert 0.0 in found.values() and 0.3 in found.values()


def test_the_optimizer_takes_one_pass_on_a_cpu() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(3, 2)), torch.nn.Parameter(torch.zeros(3))]
    assert make_optimizer(parameters, make_config()).defaults["fused"]
    elsewhere = [torch.nn.Parameter(torch.zeros(3, 2, device="meta")), parameters[1]]
    assert not make_optimizer(elsewhere, make_config()).defaults["fused"]


def test_trees() -> None:
    @dataclass(frozen=True)
    class Pair:
        left: torch.Tensor
        name: str

    class Named(NamedTuple):
        values: torch.Tensor

    one = torch.ones(2)
    tree = {"a": (one, [one, 3]), "b": Pair(one, "x"), "c": Named(one), "d": None}
    doubled = map_tensors(tree, lambda tensor: tensor * 2)
    assert [type(doubled[key]) for key in "abcd"] == [tuple, Pair, Named, type(None)]
    found = (doubled["a"][0], doubled["a"][1][0], doubled["b"].left, doubled["c"].values)
    assert all(torch.equal(tensor, one * 2) for tensor in found)
    assert (doubled["a"][1][1], doubled["b"].name) == (3, "x")
    assert is_finite({**tree, "e": torch.tensor([3])})
    for bad in (float("nan"), float("inf")):
        assert not is_finite((one, {"x": torch.tensor([0.0, bad])}))


def test_a_folder_is_removed_where_nothing_was_trained(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunFolder.create(tmp_path / "a" / "b", {"x": 1}):
        assert json.loads((tmp_path / "a" / "b" / "config.json").read_text()) == {"x": 1}
        raise ZeroDivisionError
    assert not (tmp_path / "a" / "b").exists()
    with pytest.raises(ZeroDivisionError), RunFolder.create(tmp_path / "c", {}) as folder:
        folder.save_weights({"w": torch.ones(2)})
        raise ZeroDivisionError
    assert folder.read_weights()["w"].tolist() == [1.0, 1.0]
    # What is opened was there before.
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "config.json").write_text("{}")
    with pytest.raises(ZeroDivisionError), RunFolder.open(tmp_path / "d"):
        raise ZeroDivisionError
    assert (tmp_path / "d" / "config.json").exists()
    # So was an empty folder, but not what was written into it.
    (tmp_path / "e").mkdir()
    with pytest.raises(ZeroDivisionError), RunFolder.create(tmp_path / "e", {}) as folder:
        (folder.path / "vocabulary.json").write_text("{}")
        (folder.path / "tracker" / "run").mkdir(parents=True)
        (folder.path / "tracker" / "run" / "events").write_text("")
        raise ZeroDivisionError
    assert list((tmp_path / "e").iterdir()) == []


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path, f"{tmp_path} is not empty: expected a new or an empty folder"),
        (tmp_path / "file", f"{tmp_path / 'file'} is a file: expected a new or an empty folder"),
    ):
        with pytest.raises(RunFolderError) as error:
            RunFolder.create(path, {})
        assert str(error.value) == message
    with pytest.raises(RunFolderError, match=r"^cannot write .*file"):
        RunFolder.create(tmp_path / "file" / "run", {})


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(RunFolderError) as error:
            RunFolder.open(path)
        return str(error.value)

    missing = tmp_path / "missing"
    assert refused(missing) == f"{missing} is not a folder: expected the folder of a training run"
    config = tmp_path / "config.json"
    assert refused(tmp_path) == f"cannot read {config}: No such file or directory"
    config.write_text("{")
    assert refused(tmp_path).startswith(f"{config} is not valid JSON: ")
    config.write_text("[]")
    assert refused(tmp_path) == f"{config} holds no JSON object: expected {{...}}"
    config.write_text("{}")
    folder = RunFolder.open(tmp_path)
    with pytest.raises(
        RunFolderError, match="expected the folder of a run that completed an epoch"
    ):
        folder.read_weights()
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(RunFolderError, match=r"model.safetensors is damaged: "):
        folder.read_weights()
    (tmp_path / "metrics.jsonl").write_text("{\n")
    with pytest.raises(RunFolderError, match=r"metrics.jsonl is damaged: "):
        folder.read_metrics()


def test_weights_that_share_memory_and_weights_that_do_not_fit(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    folder.save_weights(tied.state_dict())
    other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    folder.load_weights(other)
    assert torch.equal(other[1].weight, tied[0].weight)
    with pytest.raises(RunFolderError) as error:
        folder.load_weights(nn.Sequential(nn.Linear(3, 3)))
    path = tmp_path / "run" / "model.safetensors"
    assert str(error.value) == (
        f"{path} does not fit the network: 1.bias is (3,), expected no such tensor"
    )


def test_a_write_that_fails_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    folder.save_metrics([{"epoch": 1}])

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RunFolderError) as error:
        folder.save_metrics([])
    path = tmp_path / "run" / "metrics.jsonl"
    assert str(error.value) == f"cannot write {path}: No space left on device"
    assert folder.read_metrics() == [{"epoch": 1}]
    assert sorted(os.listdir(path.parent)) == ["config.json", "metrics.jsonl"]


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "other").write_text("written by the first process in the meantime")
    with pytest.raises(ZeroDivisionError), RunFolder.create(tmp_path, {"a": 1}) as folder:
        raise ZeroDivisionError
    assert folder.config == {"a": 1}
    assert os.listdir(tmp_path) == ["other"]


def test_lr_find_suggests_a_rate_that_learns_and_changes_nothing() -> None:
    objective = make_objective(dropout=0.3)
    before = {name: value.clone() for name, value in objective.network.state_dict().items()}
    objective.network.eval()
    state = torch.get_rng_state()
    found = lr_find(objective, make_clouds(75), make_config(), steps=60)
    assert torch.equal(torch.get_rng_state(), state)
    assert not objective.network.training
    for name, value in objective.network.state_dict().items():
        assert torch.equal(value, before[name])
    assert found.rates[0] == pytest.approx(1e-6)
    assert len(found.rates) == len(found.losses) <= 60
    assert all(one < other for one, other in zip(found.rates, found.rates[1:], strict=False))
    assert 1e-3 < found.suggestion < 0.5
    assert found == lr_find(objective, make_clouds(75), make_config(), steps=60)


def test_lr_find_without_success() -> None:
    with pytest.raises(TrainingError, match=r"^steps is 3: expected at least 10$"):
        lr_find(make_objective(), make_clouds(20), make_config(), steps=3)
    clouds = make_clouds(20)
    poisoned = replace(clouds, inputs=clouds.inputs * float("nan"))
    with pytest.raises(TrainingError, match=r"^the loss became nan in lr_find: the inputs of this"):
        lr_find(make_objective(), poisoned, make_config())


def show(console: Console) -> None:
    record = {"epoch": 2, "updates": 9, "train_loss": 0.5, "validation_accuracy": 0.25}
    record |= {"validation_mse": None, "learning_rate": 0.1, "seconds": 1.25}
    with TrainingDisplay(console, "images") as display:
        display(Started(3, 50, Metric("accuracy", True), 2, 20))
        display(BatchesDone(2, 50, {"loss": 0.5, "accuracy": 0.3}, 0.1))
        display(EpochDone(2, record, True))
        display(EpochDone(3, {**record, "epoch": 3, "train_loss": 1e-5}, False))


def test_the_display_writes_a_table() -> None:
    console = Console(record=True, width=80, force_terminal=False)
    show(console)
    assert console.export_text().splitlines() == [
        "resumed in epoch 2 of 3",
        "  epoch   train loss   valid. accuracy   valid. mse      time",
        "  2/3         0.5000            25.00%            -     1.2 s  best",
        "  3/3      1.000e-05            25.00%            -     1.2 s",
    ]


def test_of_many_epochs_some_have_a_line() -> None:
    console = Console(record=True, width=80, force_terminal=False)
    with TrainingDisplay(console) as display:
        display(Started(250, 50, Metric("loss", False), 1, 0))
        for epoch in range(1, 251):
            record = {"epoch": epoch, "updates": epoch, "train_loss": 1.0, "seconds": 0.5}
            display(EpochDone(epoch, record, epoch == 4))
    lines = console.export_text().splitlines()[1:]
    assert lines[:2] == ["  3/250       1.0000     1.5 s", "  6/250       1.0000     1.5 s  best"]
    assert lines[-2:] == ["249/250       1.0000     1.5 s", "250/250       1.0000     0.5 s"]
    assert len(lines) == 84


def test_the_display_has_a_bar_in_a_terminal() -> None:
    console = Console(record=True, width=120, force_terminal=True, force_interactive=True)
    show(console)
    text = console.export_text()
    assert "loss 0.5000  accuracy 30.00%" in text
    assert "left" in text
