"""The CPU engine of fastlstm.

An array is anything that speaks DLPack or the buffer protocol, or a DLPack capsule: float32 or
float64 on the CPU, contiguous, with the shape that `ScanArguments` gives it; else a `ValueError` or
`TypeError` says which is not. `lengths` is int64; `reset` and the zoneout masks are bool. Where
`features()` has `avx512_bf16`, a layer without switches may be bfloat16; its cells, the gradients
of its states and the results of `product` are float32 then.
"""

from typing import Any

def version() -> str:
    """The version that the engine was built as."""

def isa() -> str:
    """The instruction set in use: the best available, or what `FASTLSTM_ISA` named at import."""

def available_isas() -> list[str]:
    """The instruction sets that `FASTLSTM_ISA` may name on this CPU, slowest first."""

def features() -> dict[str, bool]:
    """Further instructions that the kernels may use under the instruction set in use.

    The keys are `avx512_bf16` and `amx_bf16`, on every platform. The second is true under the
    instruction set `avx512_amx` alone; that of `avx512` multiplies bfloat16 without tiles.
    """

class Layer:
    """What the forward and the backward pass take alike."""

    def __init__(
        self,
        c_0: Any,
        reset_c: Any,
        weight_hh: Any,
        weight_hr: Any,
        weight_peephole: Any,
        norm_hh: Any,
        norm_cell: Any,
        norm_cell_bias: Any,
        lengths: Any,
        reset: Any,
        recurrent_mask: Any,
        zoneout_cell_mask: Any,
        zoneout_hidden_mask: Any,
        zoneout_cell: float,
        zoneout_hidden: float,
        cell_clip: float,
        norm_epsilon: float,
        reverse: bool,
    ) -> None: ...

def forward(
    layer: Layer,
    input: Any,
    weight_ih: Any,
    bias_ih: Any,
    bias_hh: Any,
    norm_ih: Any,
    h_0: Any,
    reset_h: Any,
    output: Any,
    h_n: Any,
    c_n: Any,
    gates: Any,
    cells: Any,
    save_every: int,
    threads: int,
) -> None:
    """Run a layer over all steps; keep its gates if `save_every` is 1."""

def backward(
    layer: Layer,
    gates: Any,
    cells: Any,
    recurrent: Any,
    d_output: Any,
    d_h_n: Any,
    d_c_n: Any,
    d_gates: Any,
    d_cells: Any,
    d_z: Any,
    d_recurrent: Any,
    d_seen: Any,
    d_new_h: Any,
    d_h_0: Any,
    d_c_0: Any,
    d_reset_h: Any,
    d_reset_c: Any,
    threads: int,
) -> None:
    """Write what each step contributes to the gradients."""

def product(a: Any, b: Any, out: Any, accumulate: bool, row_sums: Any, threads: int) -> None:
    """Write a·b to `out`, or add it; and the sums of the rows of `a`.

    `a` and `b` may have any strides.
    """

def column_dots(a: Any, b: Any, out: Any, accumulate: bool, threads: int) -> None:
    """Write the sums over the rows of a ⊙ b to `out`, or add them.

    The rows of `a` and `b` may be any distance apart.
    """

def norm_totals(
    d: Any, x: Any, gain: Any, epsilon: float, d_gain: Any, d_bias: Any, d_x: Any, threads: int
) -> None:
    """Write the gradients of a layer norm's gain, bias and x from that of what it returns.

    `gain` and `d_x` are given together or not at all; `d_x` may be `x` itself.
    """

def learn_tensor_type(type: type) -> bool:
    """Have `plain_layers` read and make tensors of this type; whether it can.

    It can where the type has DLPack's table of C functions, `__dlpack_c_exchange_api__`.
    """

def plain_layers(
    input: Any,
    h_0: Any,
    c_0: Any,
    tensors: list[Any],
    biased: bool,
    has_steps: bool,
    batch_first: bool,
    stacked: bool,
    threads: int,
) -> tuple[Any, Any] | None:
    """Run layers without switches, whose weights are `tensors`, in one direction.

    See `ops.plain`. None if anything is not a tensor of the type that was learned, dense and
    contiguous, of the CPU, of one dtype that the engine knows and of a shape that fits.
    """

def plain_scan(
    input: Any,
    h_0: Any,
    c_0: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    reverse: bool,
    threads: int,
) -> tuple[Any, Any, Any, Any, Any] | None:
    """Run one layer without switches: output, h_n, c_n, gates and cells, or None likewise."""

def plain_scan_backward(
    input: Any,
    h_0: Any,
    c_0: Any,
    weight_ih: Any,
    weight_hh: Any,
    output: Any,
    gates: Any,
    cells: Any,
    d_output: Any,
    d_h_n: Any,
    d_c_n: Any,
    needs_input: bool,
    needs_weight_ih: bool,
    needs_weight_hh: bool,
    needs_biases: bool,
    reverse: bool,
    threads: int,
) -> tuple[Any, Any, Any, Any, Any, Any, Any] | None:
    """The gradients of input, h_0, c_0, both weights and both biases, or None likewise.

    One that is not needed is None. The biases' need that of `weight_ih`. Of a layer in bfloat16
    they are float32, and so must `cells`, `d_h_n` and `d_c_n` be.
    """

def activation(name: str, source: Any, target: Any) -> None:
    """The engine's `sigmoid` or `tanh`, for tests."""
