"""Who is checked and timed: a layer of ours by each back end, ``nn.LSTM``, a compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm
from benchmarks.gpu_plan import DEFAULT, LOOP, NN_LSTM, OTHERS, PLAIN, Configuration
from benchmarks.loop import Loop
from benchmarks.variants import PaddedLSTM
from fastlstm.bench import switch_arguments
from fastlstm.ops.backends import BACKENDS, CUDNN

SEED = 0


class Problem(NamedTuple):
    """The numbers of a configuration, in its precision; the same for everyone."""

    configuration: Configuration
    parameters: dict[str, Tensor]  # as a plain layer's `state_dict`
    input: Tensor  # (T, B, I)
    cotangents: tuple[Tensor, Tensor, Tensor]  # of output, h_n and c_n
    lengths: Tensor | None  # (B), on the CPU, in the part "ragged"


class Contender(NamedTuple):
    """One implementation, ready to run."""

    forward: Callable[[Tensor], tuple[Tensor, tuple[Tensor, Tensor]]]
    input: Tensor
    cotangents: tuple[Tensor, Tensor, Tensor]
    parameters: dict[str, Tensor]

    def infer(self) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Forward alone."""
        with torch.inference_mode():
            return self.forward(self.input)

    def train(self) -> tuple[Tensor, ...]:
        """Forward and backward: the gradients of the input and of every parameter."""
        x = self.input.detach().requires_grad_()
        output, _ = self.forward(x)
        return torch.autograd.grad(output, [x, *self.parameters.values()], self.cotangents[0])

    def inferred(self) -> dict[str, Tensor]:
        """What it computes in inference mode."""
        output, (h_n, c_n) = self.infer()
        return {"inference output": output, "inference h_n": h_n, "inference c_n": c_n}

    def trained(self) -> dict[str, Tensor]:
        """What it computes for a backward pass, and the gradient of a weighting of all outputs."""
        x = self.input.detach().requires_grad_()
        output, (h_n, c_n) = self.forward(x)
        gradients = torch.autograd.grad(
            [output, h_n, c_n], [x, *self.parameters.values()], self.cotangents
        )
        found = {"output": output.detach(), "h_n": h_n.detach(), "c_n": c_n.detach()}
        names = ["d_input", *(f"d_{name}" for name in self.parameters)]
        return {**found, **dict(zip(names, gradients, strict=True))}

    def results(self) -> dict[str, Tensor]:
        """All that it computes in both modes."""
        return {**self.inferred(), **self.trained()}


def make_problem(configuration: Configuration, device: torch.device) -> Problem:
    """Random numbers, the same each time; made on a device, as large ones take a CPU seconds."""
    dtype = getattr(torch, configuration.dtype)
    steps, rows, hidden = configuration.steps, configuration.rows, configuration.hidden
    width, states = (
        configuration.directions * hidden,
        configuration.layers * configuration.directions,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = _plain(configuration, torch.float32, device).to(dtype)
        x = torch.randn(steps, rows, hidden, device=device).to(dtype)
        cotangents = (
            torch.randn(steps, rows, width, device=device).to(dtype),
            torch.randn(states, rows, hidden, device=device).to(dtype),
            torch.randn(states, rows, hidden, device=device).to(dtype),
        )
        lengths = None
        if configuration.part == "ragged":
            lengths = torch.randint(1, steps + 1, (rows,))
            lengths[0] = steps
    return Problem(configuration, dict(layer.state_dict()), x, cotangents, lengths)


def own_names(device: torch.device) -> tuple[str, ...]:
    """The back ends of the scan; on a GPU without the reference, which is no one's choice there."""
    names = tuple(backend.name for backend in BACKENDS)
    if device.type == "cpu":
        return names
    return tuple(name for name in names if name != "reference")


def contenders_of(configuration: Configuration, device: torch.device) -> tuple[str, ...]:
    """Everyone who may be timed in a configuration."""
    if configuration.part == "loop":
        return NN_LSTM, DEFAULT, LOOP
    if configuration.part == "operator":
        return own_names(device)
    if configuration.part == "switches":
        return PLAIN, DEFAULT, *own_names(device)
    if configuration.part == "ragged":
        return NN_LSTM, DEFAULT, *own_names(device)
    return NN_LSTM, CUDNN, *own_names(device), DEFAULT


def expected(problem: Problem) -> dict[str, Tensor]:
    """The right results: those of the reference, in float64 on the CPU."""
    layer = fastlstm.LSTM(*_sizes(problem.configuration), dtype=torch.float64)
    layer.load_state_dict(problem.parameters)
    doubled = problem._replace(
        input=problem.input.double(),
        cotangents=tuple(value.double() for value in problem.cotangents),
    )
    return _own(layer, doubled, "reference", torch.device("cpu")).results()


def make(name: str, problem: Problem, device: torch.device, packed: bool = False) -> Contender:
    """A contender on a device.

    Args:
        name: of a back end, or one of the others in `gpu_plan.py`.
        problem: the numbers.
        device: where it runs.
        packed: have ``nn.LSTM`` read and return a ragged batch as it is packed, and not padded.
    """
    configuration = problem.configuration
    if name == NN_LSTM:
        return _cudnn(problem, device, packed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = _layer(configuration, name, device)
    if name == LOOP:
        layer.load_state_dict(problem.parameters)
        loop = Loop(layer)
        torch.compiler.reset()  # after a few configurations it would go on without compiling
        compiled = torch.compile(loop, dynamic=False)
        named = {f"{n.rpartition('.')[2]}_l0": p for n, p in loop.named_parameters()}
        return _contender(lambda x: compiled(x), problem, device, named)
    return _own(layer, problem, name, device)


def plain_choice(problem: Problem, device: torch.device, training: bool) -> tuple[str, ...]:
    """The back ends that serve where none is forced, each once."""
    layer = _layer(problem.configuration, DEFAULT, device)
    with torch.inference_mode(not training):
        found = fastlstm.explain(layer, problem.input.to(device))
    return tuple(dict.fromkeys(choice.backend for choice in found.choices))


def _layer(configuration: Configuration, name: str, device: torch.device) -> fastlstm.LSTM:
    switches: dict[str, Any] = {}
    if configuration.switch and name != PLAIN:
        switches = switch_arguments([configuration.switch], configuration.hidden)
    dtype = getattr(torch, configuration.dtype)
    sizes = _sizes(configuration)
    return fastlstm.LSTM(*sizes, device=device, dtype=torch.float32, **switches).to(dtype)


def _own(layer: fastlstm.LSTM, problem: Problem, name: str, device: torch.device) -> Contender:
    lengths = None if problem.lengths is None else problem.lengths.to(device)
    configuration = problem.configuration
    if not configuration.switch or name == PLAIN:
        layer.load_state_dict(problem.parameters)
    layer.train(configuration.training and bool(configuration.switch))

    def forward(x: Tensor) -> Any:
        with _choice(name):
            return layer(x, lengths=lengths)

    return _contender(forward, problem, device, dict(layer.named_parameters()))


def _choice(name: str) -> AbstractContextManager[object]:
    return nullcontext() if name in OTHERS else fastlstm.backend(name)


def _cudnn(problem: Problem, device: torch.device, packed: bool) -> Contender:
    dtype = problem.input.dtype
    lengths = problem.lengths
    make_layer = torch.nn.LSTM if lengths is None or packed else PaddedLSTM
    layer = _plain(problem.configuration, dtype, device, make_layer)
    layer.load_state_dict(problem.parameters)
    named = dict(layer.named_parameters())
    if lengths is None:
        return _contender(layer, problem, device, named)
    if not packed:
        return _contender(lambda x: layer(x, lengths), problem, device, named)
    x = pack_padded_sequence(problem.input.to(device), lengths, enforce_sorted=False)
    of_output = pack_padded_sequence(
        problem.cotangents[0].to(device), lengths, enforce_sorted=False
    )

    def forward(data: Tensor) -> Any:
        output, states = layer(x._replace(data=data))
        return output.data, states

    cotangents = (of_output.data, *(value.to(device) for value in problem.cotangents[1:]))
    return Contender(forward, x.data, cotangents, named)


def _contender(
    forward: Callable[[Tensor], Any],
    problem: Problem,
    device: torch.device,
    parameters: dict[str, Tensor],
) -> Contender:
    on_device = [value.to(device) for value in problem.cotangents]
    if "weight_hr_l0" in parameters:  # a projection's output is narrower
        width = len(parameters["weight_hr_l0"])
        on_device[0] = on_device[0][..., :width].contiguous()
    output, h_n, c_n = on_device
    return Contender(forward, problem.input.to(device), (output, h_n, c_n), parameters)


def _sizes(configuration: Configuration) -> tuple[Any, ...]:
    hidden = configuration.hidden
    return (hidden, hidden, configuration.layers, True, False, 0.0, configuration.bidirectional)


def _plain(
    configuration: Configuration,
    dtype: torch.dtype,
    device: torch.device,
    make_layer: Callable[..., torch.nn.LSTM] = torch.nn.LSTM,
) -> torch.nn.LSTM:
    return make_layer(*_sizes(configuration), device=device, dtype=dtype)
