"""What only this library has, beside what its users had to do instead."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from benchmarks.loop import scripted_loop
from benchmarks.records import Record, Task
from fastlstm.bench import (
    DTYPES,
    Case,
    Contender,
    Entry,
    Problem,
    Results,
    layer_contender,
    layer_results,
    make_problem,
    measure,
    own_entry,
    own_layer,
    references,
    switch_arguments,
    switch_names,
)

PLAIN, LOOP = "plain layer", "Python loop"
PACKED, PADDED, DENSE = "nn.LSTM packed", "nn.LSTM padded", "fastlstm dense"
NO_RESET = "no reset"

SWITCH_CASE = Case(100, 16, 256, 256)
RAGGED_CASE = Case(400, 32, 256, 256)
SHORTEST = 10
"""The lengths of the ragged batch are uniform from here to all its steps."""
RESET_CASE = Case(100, 16, 256, 256)
RESET_RATE = 0.01
SEED = 3

ONLY_IN_TRAINING = {"recurrent_dropout", "weight_dropout", "locked_dropout", "checkpoint_every"}
"""Those that do nothing where there is no training."""
TWO_LAYERS = {"locked_dropout"}
"""Those that work between layers; the plain layer then has two as well."""
NO_LOOP = {"checkpoint_every"}
"""Those that change no equation, so that there is nothing to write in a loop."""


def switches(task: Task) -> Iterator[Record]:
    """Each switch beside the plain layer, and beside a loop of the same equations."""
    for name in switch_names():
        if task.mode == "inference" and name in ONLY_IN_TRAINING:
            continue
        problem = make_problem(_case(SWITCH_CASE, task, layers=2 if name in TWO_LAYERS else 1))
        arguments = switch_arguments([name], problem.case.hidden_size)
        peers = [Entry(PLAIN, own_entry(problem, expected=problem.expected).make)]
        if name not in NO_LOOP:
            peers.append(Entry(LOOP, functools.partial(_loop, problem, arguments)))
        comparison = measure(own_entry(problem, arguments), peers, task.dtype, task.pairs)
        yield Record("switches", task.threads, task.mode, task.dtype, name, comparison)


def _loop(problem: Problem, arguments: dict[str, object]) -> Contender:
    layer = own_layer(problem, arguments)
    width = layer.proj_size or layer.hidden_size
    problem = problem._replace(cotangent=problem.cotangent[..., :width].contiguous())
    right, rounded = references(problem, layer, arguments)
    contender = layer_contender(scripted_loop(layer), problem, right)
    return contender._replace(results=lambda: _renamed(contender.results()), rounded=rounded)


def _renamed(results: Results) -> Results:
    """``d_layers.0.weight_ih`` as ``d_weight_ih_l0``; in the order of a layer's parameters."""
    named = {}
    for name, value in results.items():
        if name.startswith("d_layers."):
            _, layer, parameter = name.split(".")
            name = f"d_{parameter}_l{layer}"
        named[name] = value
    return named


def reset(task: Task) -> Iterator[Record]:
    """A reset in one of a hundred steps beside none."""
    problem = make_problem(_case(RESET_CASE, task))
    generator = torch.Generator().manual_seed(SEED)
    where = torch.rand(problem.case.steps, problem.case.batch, generator=generator) < RESET_RATE
    comparison = measure(
        own_entry(problem, reset=where),
        [Entry(NO_RESET, own_entry(problem, expected=problem.expected).make)],
        task.dtype,
        task.pairs,
    )
    label = f"{problem.case.shape}, reset in {RESET_RATE:.0%} of the steps"
    yield Record("reset", task.threads, task.mode, task.dtype, label, comparison)


def ragged(task: Task) -> Iterator[Record]:
    """Rows of many lengths beside ``nn.LSTM``, packed and on the padding, and beside full rows.

    The packed batch is packed before the clock starts and never unpacked: the most that can be
    said for it.
    """
    problem = make_problem(_case(RAGGED_CASE, task))
    case = problem.case
    generator = torch.Generator().manual_seed(SEED)
    lengths = torch.randint(SHORTEST, case.steps + 1, (case.batch,), generator=generator)
    # The longest row decides how much padding there is; it is never shorter than the batch.
    lengths[0] = case.steps
    right = functools.cache(lambda: _packed_results(problem, lengths, torch.float64))
    dense = functools.cache(problem.expected)
    plain = problem.case.layer(DTYPES[task.dtype])
    plain.load_state_dict(problem.parameters)
    comparison = measure(
        own_entry(problem, expected=right, lengths=lengths),
        [
            Entry(PACKED, lambda: _packed(problem, lengths, right)),
            Entry(PADDED, lambda: layer_contender(plain, problem, dense)),
            Entry(DENSE, own_entry(problem, expected=dense).make),
        ],
        task.dtype,
        task.pairs,
    )
    label = f"{case.batch} rows of {SHORTEST} to {case.steps} steps, {case.hidden_size} units"
    facts = {"real_steps": int(lengths.sum()), "dense_steps": case.steps * case.batch}
    yield Record("ragged", task.threads, task.mode, task.dtype, label, comparison, facts)


def _packed(problem: Problem, lengths: Tensor, expected: Callable[[], Results]) -> Contender:
    """``nn.LSTM`` on a ``PackedSequence``; timed without packing and unpacking."""
    layer = problem.case.layer(DTYPES[problem.case.dtype])
    layer.load_state_dict(problem.parameters)
    input = pack_padded_sequence(problem.input, lengths, enforce_sorted=False)
    cotangent = pack_padded_sequence(problem.cotangent, lengths, enforce_sorted=False).data

    def infer() -> object:
        with torch.inference_mode():
            return layer(input)

    def train() -> object:
        data = input.data.detach().requires_grad_()
        output, _ = layer(_with_data(input, data))
        return torch.autograd.grad(output.data, [data, *layer.parameters()], cotangent)

    dtype = DTYPES[problem.case.dtype]
    return Contender(
        train if problem.case.training else infer,
        lambda: _packed_results(problem, lengths, dtype),
        expected,
    )


def _packed_results(problem: Problem, lengths: Tensor, dtype: torch.dtype) -> Results:
    case = problem.case
    layer = PaddedLSTM(case.input_size, case.hidden_size, case.layers, dtype=dtype)
    layer.load_state_dict(problem.parameters)
    input, cotangent = problem.input.to(dtype), problem.cotangent.to(dtype)
    return layer_results(layer, input, cotangent, case.training, lengths=lengths)


class PaddedLSTM(torch.nn.LSTM):
    """``nn.LSTM`` on a packed batch, from padded to padded with zeros."""

    def forward(  # type: ignore[override]
        self, input: Tensor, lengths: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        packed = pack_padded_sequence(input, lengths, enforce_sorted=False)
        output, final = super().forward(packed)
        return pad_packed_sequence(output, total_length=len(input))[0], final


def _with_data(packed: PackedSequence, data: Tensor) -> PackedSequence:
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


def _case(case: Case, task: Task, layers: int = 1) -> Case:
    return replace(case, layers=layers, dtype=task.dtype, training=task.mode == "training")
