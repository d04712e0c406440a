"""Where a training runs, on Accelerate: device, precision, processes and trackers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.tracking import get_available_trackers
from accelerate.utils import GradientAccumulationPlugin, LoggerType
from torch import Tensor, nn

from fastlstm.training.errors import TrainingError
from fastlstm.training.examples import map_tensors
from fastlstm.training.settings import Device, TrainingConfig
from fastlstm.training.sums import finest

_ACCELERATE_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
_PROJECT = "fastlstm"


def find_device(device: Device) -> torch.device:
    """The device of a name; `auto` is the GPU where there is one, else the CPU.

    Raises:
        TrainingError: it is not there.
    """
    there = "cpu"
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None and torch.accelerator.is_available():
        there = accelerator.type
    if device not in ("auto", "cpu", there):
        raise TrainingError(f"device is {device}, and there is none: expected auto or {there}")
    return torch.device(there if device == "auto" else device)


def device_name(device: torch.device) -> str:
    """What a device is called: "CPU", or the GPU's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type.upper()


def check_hardware(config: TrainingConfig) -> None:
    """Raise, before anything slow is done, unless the device has what a training asks for.

    Raises:
        TrainingError: the device is not there, or does not know the precision.
    """
    device = find_device(config.device)
    if config.precision == "float16" and device.type == "cpu":
        raise TrainingError("precision is float16: expected float32 or bfloat16 on a CPU")


class Hardware:
    """The device and the processes of one training; a context manager.

    Gradients are added up over the processes by us, once an update. `DistributedDataParallel`
    averages them instead, which is not what one process computes where the shares are uneven; and
    it wants each forward to go through it, where an objective is free to call its network as often
    and by whatever method it likes.

    Raises:
        TrainingError: the device, the precision or a tracker is not to be had.
    """

    def __init__(self, config: TrainingConfig, trackers_folder: Path | None = None) -> None:
        self._config = config
        check_hardware(config)
        _check_trackers(config.trackers, trackers_folder)
        # Accelerate keeps one state for the whole process; a training needs its own, and whoever
        # else uses Accelerate here finds theirs as it was.
        self._states = [
            (state, dict(state._shared_state)) for state in (PartialState, AcceleratorState)
        ]
        self._threads = torch.get_num_threads()
        AcceleratorState._reset_state(reset_partial_state=True)
        try:
            self._accelerator = self._make_accelerator(trackers_folder)
            # After it: Accelerate sets a number of its own in a run of several processes.
            torch.set_num_threads(config.threads or self._threads)
        except BaseException:
            self._restore()
            raise
        self.device = self._accelerator.device
        self.process: int = self._accelerator.process_index
        self.processes: int = self._accelerator.num_processes
        self.is_first: bool = self._accelerator.is_main_process

    def _make_accelerator(self, trackers_folder: Path | None) -> Accelerator:
        wanted = self._config.device
        try:
            accelerator = Accelerator(
                # Several processes find each other on CPUs only where Accelerate is told of these.
                cpu=wanted == "cpu" or (wanted == "auto" and not torch.accelerator.is_available()),
                mixed_precision=_ACCELERATE_PRECISION[self._config.precision],
                # Accumulation is ours; a launcher's setting would divide the loss once more.
                gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
                log_with=list(self._config.trackers) or None,
                project_dir=trackers_folder,
            )
        except ValueError as error:
            raise TrainingError(f"precision is {self._config.precision}: {error}") from error
        if wanted not in ("auto", accelerator.device.type):
            raise TrainingError(
                f"device is {wanted}, and there is none: expected auto or {accelerator.device.type}"
            )
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started > 1 and accelerator.num_processes == 1:
            raise TrainingError(
                f"{started} processes were started, and each would train alone on "
                f"{accelerator.device.type}: expected device cpu, or one process"
            )
        return accelerator

    def __enter__(self) -> Hardware:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Not `end_training`: it also ends the process group, and the next training needs that.
        for tracker in self._accelerator.trackers:
            tracker.finish()
        self._restore()

    def _restore(self) -> None:
        torch.set_num_threads(self._threads)
        for state, content in self._states:
            state._shared_state.clear()
            state._shared_state.update(content)

    def to_device(self, value: Any) -> Any:
        """A tree of tensors on the device; the host does not wait until they are there."""
        return map_tensors(value, self._to_device)

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda" and not tensor.is_cuda:
            # From other memory the driver copies only once the GPU has done all it was given.
            tensor = tensor.contiguous().pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def number(self, value: float | Tensor) -> Tensor:
        """A number on the device, `()`, without waiting for it."""
        dtype = finest(self.device)
        if isinstance(value, Tensor):
            return value.detach().to(self.device, dtype)
        return torch.full((), value, dtype=dtype, device=self.device)

    def share_network(self, network: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        if self.processes > 1:
            for tensor in network.state_dict().values():
                torch.distributed.broadcast(tensor, 0)

    def prepare(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """The optimizer as the precision needs it."""
        return self._accelerator.prepare(optimizer)

    def autocast(self) -> AbstractContextManager[None]:
        """The context of a forward in the precision that was asked for."""
        return self._accelerator.autocast()

    def backward(self, total: Tensor) -> None:
        """Back-propagate a loss, scaled where the precision needs it."""
        self._accelerator.backward(total)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Take back the scale of `backward` from the gradients."""
        self._accelerator.unscale_gradients(optimizer)

    def leave_out(self) -> None:
        """Take no step along gradients that `unscale` has seen."""
        if self.scaler is not None:
            self.scaler.update()

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """What scales the loss in `float16`; None in other precisions."""
        return self._accelerator.scaler

    def add_up(self, values: Sequence[float]) -> list[float]:
        """The sums of some numbers over the processes; each calls it with as many."""
        if self.processes == 1:
            return list(values)
        return self.add_up_unread([self.number(value) for value in values]).tolist()

    def add_up_unread(self, numbers: Sequence[Tensor]) -> Tensor:
        """The same of what `number` gave, `(N,)`, without waiting for the device."""
        stacked = torch.stack(list(numbers))
        if self.processes > 1:
            torch.distributed.all_reduce(stacked)
        return stacked

    def largest(self, value: int) -> int:
        """The largest of the processes' numbers."""
        if self.processes == 1:
            return value
        return int(self.gather(torch.tensor([value], device=self.device)).max())

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors `(N,)` of all processes, `(processes, N)`, on the CPU."""
        if self.processes == 1:
            return tensor.cpu()[None]
        pieces = [torch.empty_like(tensor, device=self.device) for _ in range(self.processes)]
        torch.distributed.all_gather(pieces, tensor.to(self.device))
        return torch.stack(pieces).cpu()

    def add_up_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the processes."""
        if self.processes == 1:
            return
        used = torch.tensor([p.grad is not None for p in parameters], device=self.device)
        counts = used.to(torch.int32)
        torch.distributed.all_reduce(counts)
        # A parameter that no process used keeps no gradient: the optimizer must leave it alone.
        taking_part = [p for p, count in zip(parameters, counts.tolist(), strict=True) if count]
        by_dtype: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter in taking_part:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            by_dtype.setdefault(parameter.dtype, []).append(parameter)
        for group in by_dtype.values():
            gradients = [parameter.grad for parameter in group if parameter.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            torch.distributed.all_reduce(flat)
            pieces = flat.split([gradient.numel() for gradient in gradients])
            for gradient, piece in zip(gradients, pieces, strict=True):
                gradient.copy_(piece.view_as(gradient))

    def wait(self) -> None:
        """Wait until every process is here."""
        self._accelerator.wait_for_everyone()

    def start_trackers(self, config: Mapping[str, Any]) -> None:
        """Tell the trackers the settings of the run."""
        if self._config.trackers:
            plain = {
                name: value if isinstance(value, (int, float, str, bool)) else str(value)
                for name, value in config.items()
            }
            self._accelerator.init_trackers(_PROJECT, plain)

    def track(self, figures: Mapping[str, float], step: int) -> None:
        """Give the trackers the figures of an epoch."""
        self._accelerator.log(dict(figures), step)


def _check_trackers(trackers: Sequence[str], folder: Path | None) -> None:
    known = [str(LoggerType(name)) for name in LoggerType if str(LoggerType(name)) != "all"]
    installed = [str(tracker) for tracker in get_available_trackers()]
    for name in trackers:
        if name not in known:
            raise TrainingError(f"trackers has {name!r}: expected some of {', '.join(known)}")
        if name not in installed:
            raise TrainingError(f"trackers has {name!r}, which is not installed")
    if trackers and folder is None:
        raise TrainingError(f"trackers is {', '.join(trackers)}: expected a run folder with it")
