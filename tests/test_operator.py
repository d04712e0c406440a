"""The operators as PyTorch sees them: schema, fake kernels, registrations, argument errors."""

import re
from typing import Any

import pytest
import torch

from cases import SWITCHES, make_arguments
from fastlstm.ops import ScanArguments, scan
from fastlstm.ops.arguments import DIFFERENTIABLE, BackwardCall, Cotangents

MANY = ("projection", "peephole", "layer_norm", "lengths", "reset_state", "reverse")
OTHERS = ("coupled_gates", "zoneout_masks", "recurrent_mask", "cell_clip")


def backward_call(arguments: ScanArguments, groups: int) -> tuple[Any, ...]:
    outputs = scan(arguments._replace(save_every=1))
    cotangents = Cotangents(
        torch.randn_like(outputs.output).requires_grad_(),
        torch.randn_like(outputs.h_n),
        torch.randn_like(outputs.c_n),
        None,
        None,
    )
    saved = (value.detach() for value in (outputs.output, outputs.gates, outputs.cells))
    needs = [getattr(arguments, name) is not None for name in DIFFERENTIABLE]
    return BackwardCall(
        cotangents, arguments._replace(save_every=1), *saved, needs, groups
    ).to_flat()


@pytest.mark.parametrize("save_every", [0, 1, 2])
@pytest.mark.parametrize("switches", [(), MANY, OTHERS], ids=["plain", "many", "others"])
def test_opcheck_of_scan(switches: tuple[str, ...], save_every: int) -> None:
    arguments = make_arguments(switches, save_every=save_every)
    torch.library.opcheck(torch.ops.fastlstm.scan.default, tuple(arguments))


@pytest.mark.parametrize("groups", [0, 3])
@pytest.mark.parametrize("switches", [(), MANY, OTHERS], ids=["plain", "many", "others"])
def test_opcheck_of_scan_backward(switches: tuple[str, ...], groups: int) -> None:
    # The derivative of the backward pass is traced step by step: few steps are enough.
    flat = backward_call(make_arguments(switches, steps=2), groups)
    torch.library.opcheck(torch.ops.fastlstm.scan_backward.default, flat)


@pytest.mark.parametrize("switches", [(), MANY, OTHERS], ids=["plain", "many", "others"])
def test_fake_kernel_agrees_in_16_bits(switches: tuple[str, ...]) -> None:
    arguments = make_arguments(switches, dtype=torch.bfloat16, requires_grad=False, save_every=1)
    torch.library.opcheck(
        torch.ops.fastlstm.scan.default, tuple(arguments), test_utils="test_faketensor"
    )


def test_no_output_shares_memory_with_an_argument_or_another_output() -> None:
    arguments = make_arguments(requires_grad=False, steps=1, save_every=1)
    outputs = scan(arguments)
    pointers = [value.untyped_storage().data_ptr() for value in outputs]
    pointers += [arguments.h_0.untyped_storage().data_ptr(), arguments.c_0.data_ptr()]
    assert len(set(pointers)) == len(pointers)


def test_16_bit_states_are_kept_in_float32() -> None:
    arguments = make_arguments(dtype=torch.bfloat16, requires_grad=False, save_every=1)
    outputs = scan(arguments)
    assert outputs.cells.dtype == torch.float32
    assert {value.dtype for value in outputs[:4]} == {torch.bfloat16}


def test_groups_add_up_to_the_whole() -> None:
    arguments = make_arguments(("projection", "peephole", "layer_norm"), rows=6)
    with torch.no_grad():
        whole = torch.ops.fastlstm.scan_backward(*backward_call(arguments, 0))
        torch.manual_seed(20)
        whole = torch.ops.fastlstm.scan_backward(*backward_call(arguments, 0))
        torch.manual_seed(20)
        parts = torch.ops.fastlstm.scan_backward(*backward_call(arguments, 3))
    for name, one, three in zip(DIFFERENTIABLE, whole, parts, strict=True):
        if not one.numel():
            continue
        if name in ("input", "h_0", "c_0"):
            torch.testing.assert_close(three, one, rtol=1e-12, atol=1e-12)
        else:
            assert three.shape == (3, *one.shape)
            torch.testing.assert_close(three.sum(0), one, rtol=1e-12, atol=1e-12)


def test_gradient_that_nobody_needs_is_not_returned() -> None:
    arguments = make_arguments()
    flat = list(backward_call(arguments, 0))
    flat[-2] = [False] * (len(DIFFERENTIABLE) - 1) + [False]
    flat[-2][DIFFERENTIABLE.index("weight_hh")] = True
    gradients = dict(zip(DIFFERENTIABLE, torch.ops.fastlstm.scan_backward(*flat), strict=True))
    assert gradients.pop("weight_hh").shape == arguments.weight_hh.shape
    assert {gradient.numel() for gradient in gradients.values()} == {0}


T, B, R = 5, 3, 6
WRONG: list[tuple[tuple[str, ...], dict[str, Any], type[Exception], str]] = [
    (
        (),
        {"input": torch.zeros(T, 4)},
        ValueError,
        "input must have 3 dimensions, got shape [5, 4]",
    ),
    ((), {"h_0": torch.zeros(7)}, ValueError, "h_0 must have 2 dimensions, got shape [7]"),
    (
        (),
        {"input": torch.zeros(0, B, 4, dtype=torch.float64)},
        ValueError,
        "input must have at least one time step, got 0",
    ),
    (
        (),
        {"h_0": torch.zeros(B, R, dtype=torch.float64)},
        ValueError,
        "without a projection (weight_hr) h_0 and c_0 must have the same width, got 6 and 7",
    ),
    (
        (),
        {"weight_hh": torch.zeros(28, 8, dtype=torch.float64)},
        ValueError,
        "weight_hh must have shape [28, 7], got [28, 8]",
    ),
    (
        ("coupled_gates",),
        {"weight_ih": torch.zeros(28, 4, dtype=torch.float64)},
        ValueError,
        "weight_ih must have shape [21, 4], got [28, 4]",
    ),
    (
        (),
        {"bias_ih": torch.zeros(28)},
        TypeError,
        "bias_ih must be of the input's dtype torch.float64, got torch.float32",
    ),
    (
        (),
        {"bias_hh": torch.zeros(28, dtype=torch.int64)},
        TypeError,
        "bias_hh must be of a floating-point dtype, got torch.int64",
    ),
    (
        ("lengths",),
        {"lengths": torch.zeros(B)},
        TypeError,
        "lengths must be of an integer dtype, got torch.float32",
    ),
    (
        ("reset",),
        {"reset": torch.zeros(T, B)},
        TypeError,
        "reset must be of dtype torch.bool, got torch.float32",
    ),
    (
        (),
        {"bias_ih": torch.zeros(28, dtype=torch.float64, device="meta")},
        ValueError,
        "bias_ih must be on the input's device cpu, got meta",
    ),
    (
        ("reset_state",),
        {"reset_c": None},
        ValueError,
        "reset_h, reset_c are given together or not at all, got only reset_h",
    ),
    (
        ("layer_norm",),
        {"norm_ih": None},
        ValueError,
        "norm_ih, norm_hh, norm_cell are given together or not at all, got only norm_hh, norm_cell",
    ),
    ((), {"save_every": -1}, ValueError, "save_every must not be negative, got -1"),
]


@pytest.mark.parametrize(("switches", "changes", "error", "message"), WRONG)
def test_wrong_arguments_are_named(
    switches: tuple[str, ...], changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = make_arguments(switches, requires_grad=False)._replace(**changes)
    with pytest.raises(error, match=re.escape(f"scan: {message}")):
        torch.ops.fastlstm.scan(*arguments)


def test_every_tensor_is_checked() -> None:
    """A tensor of a wrong shape is refused, whichever it is."""
    arguments = make_arguments(
        [name for name in SWITCHES if name not in ("no_bias",)], requires_grad=False
    )
    for name, value in arguments._asdict().items():
        if isinstance(value, torch.Tensor):
            wrong = arguments._replace(**{name: torch.cat([value, value], dim=-1)})
            with pytest.raises(ValueError, match="scan: "):
                torch.ops.fastlstm.scan(*wrong)
