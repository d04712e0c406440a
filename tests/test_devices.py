"""What is asked of a device is checked first, and what is made for one comes to be there."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from fastlstm.training import TrainingError, check_hardware, find_device, generators
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
    with pytest.raises(TrainingError, match="device is mps, and there is none: expected auto or cuda"):
        find_device("mps")


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
