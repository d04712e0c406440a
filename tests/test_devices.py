"""What is asked of a device is checked first, and what is made for one comes to be there."""

from collections.abc import Callable
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from fastlstm import Forecaster, SequenceClassifier
from fastlstm.models import LSTMConfig
from fastlstm.runs import Run
from fastlstm.runs.classification import Classification, ClassificationData
from fastlstm.training import (
    Metric,
    Started,
    TrainingDisplay,
    TrainingError,
    check_hardware,
    device_name,
    find_device,
    generators,
)
from fastlstm.training.updates import make_optimizer
from training_cases import make_config

CPU_ALONE = pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
NO_GPU = "device is cuda, and there is none: expected auto or cpu"


@CPU_ALONE
def test_a_device_that_is_not_there() -> None:
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(TrainingError, match=f"^{NO_GPU}$"):
        find_device("cuda")


def test_the_gpu_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    assert find_device("auto") == find_device("cuda") == torch.device("cuda")
    assert find_device("cpu") == torch.device("cpu")
    check_hardware(make_config(device="auto", precision="float16"))
    with pytest.raises(TrainingError, match="float32 or bfloat16 on a CPU"):
        check_hardware(make_config(device="cpu", precision="float16"))
    with pytest.raises(TrainingError) as error:
        find_device("mps")
    assert str(error.value) == "device is mps, and there is none: expected auto or cuda"


@CPU_ALONE
@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_command_says_so_before_it_reads(
    run: Callable[..., tuple[int, str, str]], command: str
) -> None:
    arguments = (command, "classify", "digits", "--device", "cuda", "--output", "new")
    assert run(*arguments) == (2, "", f"fastlstm: error: {NO_GPU}\n")
    assert not Path("new").exists()


def test_other_gpus_keep_their_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    states = [torch.arange(16, dtype=torch.uint8)]
    gpu = SimpleNamespace(
        manual_seed=seeds.append, get_rng_state=lambda: states[-1], set_rng_state=states.append
    )
    everywhere: list[int] = []
    monkeypatch.setattr(torch, "manual_seed", everywhere.append)
    monkeypatch.setattr(generators, "_device_module", lambda device: gpu)
    before = torch.get_rng_state()
    with generators.seeded(7, torch.device("cuda")):
        assert torch.initial_seed() == 7
    assert (seeds, everywhere) == ([7], [])
    assert torch.equal(torch.get_rng_state(), before)
    restored: Tensor = states[-1]
    assert len(states) == 2 and torch.equal(restored, states[0])


def test_a_state_of_another_kind_of_device_is_told_by_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    of_gpu = SimpleNamespace(get_rng_state=lambda: torch.arange(16, dtype=torch.uint8))
    monkeypatch.setattr(generators, "_device_module", lambda device: of_gpu)
    assert len(generators.get_state(gpu)) == len(generators.get_state(cpu)) + 16


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"NVIDIA H100 {device}")
    assert device_name(torch.device("cuda", 1)) == "NVIDIA H100 cuda:1"
    assert device_name(torch.device("cpu")) == "CPU"


@pytest.mark.parametrize(("device", "shown"), [("CPU", ""), ("NVIDIA [H100]", "on NVIDIA [H100]")])
def test_the_display_names_a_gpu(device: str, shown: str) -> None:
    console = Console(record=True, file=StringIO())
    with TrainingDisplay(console) as display:
        display(Started(3, 50, Metric("loss", False), 1, 0, device))
    assert console.export_text().strip() == shown


def test_a_full_gpu_is_one_line() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    message = import_module("fastlstm.cli.main")._message
    said = message(error, ["train"])
    assert said == "not enough memory: try a smaller hidden size or batch size"
    with pytest.raises(RuntimeError, match="another"):
        message(RuntimeError("another"), ["train"])


def test_tensors_of_any_device_are_read() -> None:
    # Like those of a GPU, tensors with a gradient are no arrays before they are detached.
    lstm, training = LSTMConfig(hidden_size=4), make_config(epochs=1)
    values = torch.randn(1, 60, 1, requires_grad=True)
    forecaster = Forecaster(3, lstm=lstm, training=training, input_chunk=8).fit(values)
    assert forecaster.predict().shape == (1, 3, 1)
    labels = torch.arange(30) % 2
    classifier = SequenceClassifier(lstm, training).fit(torch.randn(30, 5, 2), labels)
    assert classifier.predict(torch.randn(7, 5, 2)).shape == (7,)


@CPU_ALONE
def test_an_estimator_moves(tmp_path: Path) -> None:
    lstm, training = LSTMConfig(hidden_size=4), make_config(epochs=1, device="auto")
    X, y = np.random.default_rng(0).normal(size=(30, 5, 2)), np.arange(30) % 2
    made = SequenceClassifier(lstm, training).fit(X, y)
    expected = made.predict_proba(X)
    assert made.to("auto") is made
    np.testing.assert_array_equal(made.predict_proba(X), expected)
    with pytest.raises(TrainingError, match=f"^{NO_GPU}$"):
        made.to("cuda")
    # One that a GPU trained is read where there is none.
    made.training = make_config(device="cuda")
    made.save(tmp_path / "model")
    np.testing.assert_array_equal(
        SequenceClassifier.load(tmp_path / "model").predict_proba(X), expected
    )


@pytest.mark.parametrize(("device", "place"), [("cpu", "cpu"), ("cuda", "auto"), ("auto", "auto")])
def test_a_run_computes_where_it_was_trained(device: str, place: str, tmp_path: Path) -> None:
    task = Classification()
    settings = task.settings(training=make_config(device=device))
    moved: list[str] = []
    estimator: Any = SimpleNamespace(to=moved.append)
    Run(tmp_path, task, ClassificationData("digits"), settings)._placed(estimator)
    assert moved == [place]


def test_counts_are_checked_before_the_training() -> None:
    series = np.random.default_rng(0).poisson(3, size=(80, 1)).astype(np.float32)
    series[70] = -2
    message = "counts must not be negative, got -2 in y: use another output for this data"
    with pytest.raises(ValueError, match=f"^{message}$"):
        Forecaster(3, lstm=LSTMConfig(hidden_size=4), output="negative_binomial").fit(series)


def test_the_optimizer_takes_one_pass_on_one_kind_of_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(torch.optim, "AdamW", lambda groups, **named: made.append(named["fused"]))
    for kinds in (("cpu", "cpu"), ("cuda", "cuda"), ("cpu", "cuda"), ("mps",)):
        parameters: Any = [SimpleNamespace(ndim=1, device=torch.device(kind)) for kind in kinds]
        make_optimizer(parameters, make_config())
    assert made == [True, True, None, None]
