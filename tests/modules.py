"""What the tests of the layers share: a naive LSTM, twins of PyTorch's layers, comparisons.

The naive LSTM is written from the papers, one row and one step at a time, with nothing but sums,
products, exp and tanh. It shares no code with the library, and autograd gives its gradients.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import fastlstm

States = tuple[Tensor, Tensor]


class NaiveStep(NamedTuple):
    """One row's gates and states after one step."""

    input_gate: Tensor
    forget_gate: Tensor
    cell_gate: Tensor
    output_gate: Tensor
    cell: Tensor
    hidden: Tensor


class NaiveMasks(NamedTuple):
    """What a training run draws, for one layer and direction; None is off."""

    recurrent: Tensor | None = None  # (B, R)
    zoneout_cell: Tensor | None = None  # (T, B, H) bool
    zoneout_hidden: Tensor | None = None  # (T, B, R) bool


def sigmoid(z: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-z))


def normalize(z: Tensor) -> Tensor:
    """Ba et al. 2016, eq. 4, with PyTorch's epsilon."""
    mean = z.sum() / len(z)
    variance = ((z - mean) ** 2).sum() / len(z)
    return (z - mean) / (variance + 1e-5) ** 0.5


def naive_step(
    layer: Any,
    suffix: str,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    recurrent_mask: Tensor | None = None,
    kept_cell: Tensor | None = None,
    kept_hidden: Tensor | None = None,
) -> NaiveStep:
    """One step of one row: vectors x (I), h (R), c (H)."""
    size = layer.hidden_size
    from_x = getattr(layer, f"weight_ih{suffix}") @ x
    from_h = getattr(layer, f"weight_hh{suffix}") @ (
        h if recurrent_mask is None else h * recurrent_mask
    )
    if layer.layer_norm:
        from_x = getattr(layer, f"norm_ih{suffix}") * normalize(from_x)
        from_h = getattr(layer, f"norm_hh{suffix}") * normalize(from_h)
    total = from_x + from_h
    if layer.bias:
        total = total + getattr(layer, f"bias_ih{suffix}") + getattr(layer, f"bias_hh{suffix}")
    gate_names = "fgo" if layer.coupled_gates else "ifgo"
    z = {name: total[k * size : (k + 1) * size] for k, name in enumerate(gate_names)}
    p = {name: torch.zeros_like(c) for name in gate_names}
    if layer.peephole:
        rows = getattr(layer, f"weight_peephole{suffix}")
        p.update(zip(gate_names.replace("g", ""), rows, strict=True))

    f = sigmoid(z["f"] + p["f"] * c)
    i = 1 - f if layer.coupled_gates else sigmoid(z["i"] + p["i"] * c)
    g = torch.tanh(z["g"])
    new_c = f * c + i * g
    if layer.cell_clip:
        limit = torch.full_like(new_c, layer.cell_clip)
        new_c = torch.where(new_c > limit, limit, torch.where(new_c < -limit, -limit, new_c))
    o = sigmoid(z["o"] + p["o"] * new_c)
    seen = new_c
    if layer.layer_norm:
        seen = getattr(layer, f"norm_cell{suffix}") * normalize(new_c)
        seen = seen + (getattr(layer, f"norm_cell_bias{suffix}") if layer.bias else 0)
    new_h = o * torch.tanh(seen)
    if getattr(layer, "proj_size", 0):
        new_h = getattr(layer, f"weight_hr{suffix}") @ new_h

    rate_c, rate_h = layer.zoneout
    if layer.training:
        new_c = new_c if kept_cell is None else torch.where(kept_cell, c, new_c)
        new_h = new_h if kept_hidden is None else torch.where(kept_hidden, h, new_h)
    else:
        new_c = rate_c * c + (1 - rate_c) * new_c
        new_h = rate_h * h + (1 - rate_h) * new_h
    return NaiveStep(i, f, g, o, new_c, new_h)


class NaiveResult(NamedTuple):
    output: Tensor  # (T, B, D·R)
    h_n: Tensor
    c_n: Tensor
    layers: list[NaiveStep]  # (T, B, ·) each, zero past a row's end


def naive_lstm(
    layer: fastlstm.LSTM,
    x: Tensor,
    hx: States | None = None,
    *,
    lengths: Sequence[int] | None = None,
    reset: Tensor | None = None,
    reset_state: States | None = None,
    masks: Sequence[NaiveMasks] | None = None,
) -> NaiveResult:
    """The layer over (T, B, I), in a loop over layers, directions, rows and steps."""
    directions = 2 if layer.bidirectional else 1
    steps, rows, _ = x.shape
    finals: list[tuple[Tensor, Tensor]] = []
    traces: list[NaiveStep] = []
    zeros = zero_states(layer, rows)
    for number in range(layer.num_layers):
        outputs: list[Tensor] = []
        for direction in range(directions):
            index = number * directions + direction
            suffix = f"_l{number}" + ("_reverse" if direction else "")
            table: list[list[Any]] = [[None] * rows for _ in range(steps)]
            last: list[tuple[Tensor, Tensor]] = []
            drawn = masks[index] if masks else NaiveMasks()
            for b in range(rows):
                h, c = (state[index, b] for state in (hx or zeros))
                reset_h, reset_c = (
                    state[index, b % state.shape[1]] for state in (reset_state or zeros)
                )
                length = steps if lengths is None else lengths[b]
                for t in range(length)[:: -1 if direction else 1]:
                    # A reset at t stands between t - 1 and t.
                    boundary = t + 1 if direction else t
                    if reset is not None and boundary < length and reset[boundary, b]:
                        h, c = reset_h, reset_c
                    recurrent, kept_c, kept_h = drawn
                    table[t][b] = naive_step(
                        layer,
                        suffix,
                        x[t, b],
                        h,
                        c,
                        None if recurrent is None else recurrent[b],
                        None if kept_c is None else kept_c[t, b],
                        None if kept_h is None else kept_h[t, b],
                    )
                    h, c = table[t][b].hidden, table[t][b].cell
                last.append((h, c))
            finals.append((torch.stack([h for h, _ in last]), torch.stack([c for _, c in last])))
            traces.append(_tabulate(table, zeros))
            outputs.append(traces[-1].hidden)
        output = torch.cat(outputs, dim=-1)
        if layer.residual and output.shape[-1] == x.shape[-1]:
            output = output + _only_real(x, lengths)
        x = output
    return NaiveResult(
        x, torch.stack([h for h, _ in finals]), torch.stack([c for _, c in finals]), traces
    )


def _tabulate(table: list[list[Any]], zeros: States) -> NaiveStep:
    h, c = zeros[0][0, 0], zeros[1][0, 0]
    padding = NaiveStep(c, c, c, c, c, h)
    parts = []
    for k in range(len(padding)):
        parts.append(
            torch.stack([torch.stack([(cell or padding)[k] for cell in row]) for row in table])
        )
    return NaiveStep(*parts)


def _only_real(x: Tensor, lengths: Sequence[int] | None) -> Tensor:
    if lengths is None:
        return x
    return torch.where(is_real(x.shape[0], lengths).unsqueeze(-1), x, 0.0)


def is_real(steps: int, lengths: Sequence[int]) -> Tensor:
    """(T, B) bool."""
    return torch.tensor([[t < length for length in lengths] for t in range(steps)])


def zero_states(layer: torch.nn.LSTM, rows: int) -> States:
    """(h, c) of zeros, with the layer's dtype."""
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    like = next(layer.parameters())
    return (
        like.new_zeros(count, rows, layer.proj_size or layer.hidden_size),
        like.new_zeros(count, rows, layer.hidden_size),
    )


def random_states(layer: torch.nn.LSTM, rows: int, batched: bool = True) -> States:
    """(h, c) of normal random numbers that need gradients."""
    h, c = (torch.randn_like(state) for state in zero_states(layer, rows))
    if not batched:
        h, c = h[:, 0].clone(), c[:, 0].clone()
    return h.requires_grad_(), c.requires_grad_()


def double_lstm(*sizes: int, **switches: Any) -> fastlstm.LSTM:
    """A float64 layer; gains and biases that start as ones and zeros are made random."""
    layer = fastlstm.LSTM(*sizes, dtype=torch.float64, **switches)
    return randomize_norms(layer)


def randomize_norms(layer: Any) -> Any:
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("norm_"):
                parameter.normal_()
    return layer


def lstm_twins(*sizes: int, dtype: Any = torch.float64, **options: Any) -> tuple[Any, Any]:
    """``fastlstm.LSTM`` and ``torch.nn.LSTM`` with the same parameters."""
    ours = fastlstm.LSTM(*sizes, dtype=dtype, **options)
    theirs = torch.nn.LSTM(*sizes, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def gradients(
    outputs: Iterable[Tensor], inputs: Mapping[str, Tensor], seed: int = 1
) -> dict[str, Tensor]:
    """The gradient of one fixed random weighting of all outputs, of each input by name."""
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros((), dtype=torch.float64)
    for output in outputs:
        weight = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        loss = loss + (output.double() * weight).sum()
    found = torch.autograd.grad(
        loss, list(inputs.values()), retain_graph=True, materialize_grads=True
    )
    return {f"d_{name}": d for name, d in zip(inputs, found, strict=True)}


def differentiated(
    layer: torch.nn.Module, result: tuple[Any, States], inputs: Sequence[Tensor | None]
) -> dict[str, Tensor]:
    """A layer's outputs, and their gradients of ``inputs`` and of every parameter."""
    output, (h_n, c_n) = result
    output = getattr(output, "data", output) if not isinstance(output, Tensor) else output
    given = {f"input {k}": value for k, value in enumerate(inputs) if value is not None}
    found = gradients((output, h_n, c_n), {**given, **dict(layer.named_parameters())})
    return {"output": output, "h_n": h_n, "c_n": c_n, **found}


def assert_same(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float = 1e-12
) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert_close(value, expected[name], tolerance, name)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-12, name: str = "") -> None:
    """Equal to ``tolerance`` relative to the largest value; shape and dtype exactly."""
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(
        found, expected, rtol=tolerance, atol=tolerance * scale, msg=lambda m: f"{name}: {m}"
    )


def raises(kind: type[Exception], message: str) -> Any:
    """``pytest.raises`` of exactly this message."""
    return pytest.raises(kind, match=f"^{re.escape(message)}$")
