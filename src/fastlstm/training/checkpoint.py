"""All that a training needs to go on as if it had not been stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fastlstm.config import from_mapping, to_mapping
from fastlstm.training import generators
from fastlstm.training.errors import RunFolderError
from fastlstm.training.folder import CHECKPOINT, RunFolder
from fastlstm.training.hardware import Hardware
from fastlstm.training.settings import TrainingConfig
from fastlstm.training.updates import Totals
from fastlstm.training.weights import load_into

# These change where and how a training runs, and not what it computes.
_FREE = ("device", "threads", "checkpoint_seconds", "trackers")


@dataclass
class Course:
    """Where a training stands.

    Attributes:
        epoch: the running one, from 1; one more than there are when the last has ended.
        batches: how many of it are done.
        updates: of the weights, since the beginning.
        totals: sums over the epoch so far.
        seconds: that the epoch took so far.
        best_epoch: the best one so far, the later of two alike; None before the first has ended.
        improved: the epoch since which none was strictly better.
        best_value: its metric; None also where it is not finite.
        plateau: what the schedule `plateau` multiplies the learning rate by.
        lowered: the epoch in which it did so last.
        finished: nothing is left to do.
        lines: the lines of `metrics.jsonl`.
    """

    epoch: int = 1
    batches: int = 0
    updates: int = 0
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0
    best_epoch: int | None = None
    improved: int = 0
    best_value: float | None = None
    plateau: float = 1.0
    lowered: int = 0
    finished: bool = False
    lines: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(
    folder: RunFolder | None,
    course: Course,
    config: TrainingConfig,
    examples: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    hardware: Hardware,
) -> None:
    """Write the checkpoint of a run; every process takes part, the first writes.

    Raises:
        RunFolderError: the disk refuses.
    """
    states = hardware.gather(generators.get_state(hardware.device))
    if folder is None or not hardware.is_first:
        return
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{name}": tensor for name, tensor in state.items()})
    tensors["generators"] = states
    scaler = hardware.scaler
    state = {
        "course": to_mapping(course),
        "config": to_mapping(config),
        "examples": examples,
        "scaler": None if scaler is None else scaler.state_dict(),
    }
    folder.save_checkpoint(tensors, state)


def load_checkpoint(
    folder: RunFolder,
    config: TrainingConfig,
    examples: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    hardware: Hardware,
) -> Course | None:
    """Read the checkpoint of a run into its network, its optimizer and the random generators.

    Returns:
        Where the run stood; None where it was killed before its first checkpoint.

    Raises:
        RunFolderError: the checkpoint is damaged, or of another network, other settings or other
            data.
    """
    found = folder.read_checkpoint()
    if found is None:
        return None
    tensors, state = found
    _check_same(folder, config, examples, state)
    where = folder.path / CHECKPOINT
    load_into(network, _part(tensors, "network."), where)
    _load_optimizer(optimizer, _part(tensors, "optimizer."))
    if hardware.scaler is not None and state["scaler"] is not None:
        hardware.scaler.load_state_dict(state["scaler"])
    states = tensors["generators"]
    # Another kind of device or number of processes has no state here, and begins with its seed.
    fits = states.shape[1] == len(generators.get_state(hardware.device))
    if fits and hardware.process < len(states):
        generators.set_state(states[hardware.process], hardware.device)
    return from_mapping(Course, state["course"], str(where))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    # The groups' settings follow from the training's; the learning rate is set at each update.
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _check_same(
    folder: RunFolder, config: TrainingConfig, examples: int, state: dict[str, Any]
) -> None:
    now, then = to_mapping(config), state["config"]
    for name in now:
        if name not in _FREE and now[name] != then.get(name):
            raise RunFolderError(
                f"cannot resume {folder.path} with {name} {now[name]}: it was started with "
                f"{then.get(name)}"
            )
    if examples != state["examples"]:
        raise RunFolderError(
            f"cannot resume {folder.path} with {examples} training examples: it was started with "
            f"{state['examples']}"
        )
