"""How the kernels of the back end "triton-small" are called, and what they need of a device."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch

from fastlstm.ops.arguments import ScanArguments
from fastlstm.ops.triton_launch import allows_tf32, constants, power_of_two


def shared_arguments(arguments: ScanArguments, factors: torch.dtype) -> dict[str, Any]:
    """The arguments that both kernels have."""
    a = arguments
    return {
        "weight_hh": a.weight_hh.to(factors),
        "weight_hr": None if a.weight_hr is None else a.weight_hr.to(factors),
        "peephole": a.weight_peephole,
        "norm_hh": a.norm_hh,
        "norm_cell": a.norm_cell,
        "norm_cell_bias": a.norm_cell_bias,
        "lengths": a.lengths,
        "reset": a.reset,
        "reset_c": a.reset_c,
        "recurrent_mask": a.recurrent_mask,
        "zoneout_cell_mask": a.zoneout_cell_mask,
        "zoneout_hidden_mask": a.zoneout_hidden_mask,
        "steps": len(a.input),
        "B": len(a.h_0),
        "FEATURES": a.h_0.shape[-1],
        "ZONEOUT_HIDDEN": a.zoneout_hidden,
        "REVERSE": a.reverse,
        "PRECISION": device_of(a.input.device).precision,
        **constants(a),
    }


def tiles_of(arguments: ScanArguments) -> Tiles:
    """The tiles of a call."""
    rows, features = arguments.h_0.shape
    device = device_of(arguments.input.device)
    return Tiles.over(device, rows, arguments.hidden_size, features)


class Device(NamedTuple):
    """What a device has."""

    memory: int  # bytes that a program may have for the weights
    warp: int  # threads
    rows: int  # of a program: as many as its matrix units multiply at once
    precision: str  # how it multiplies float32, as Triton names it


H100 = Device(232_448, 32, 8, "bf16x6")
# The compiler keeps weights in the registers there, of which a processor has 512 KiB.
MI300X = Device(192 << 10, 64, 16, "ieee")


def device_of(device: torch.device) -> Device:
    """What this device has."""
    if device.type in ("cpu", "meta"):  # the interpreter knows no bounds
        return H100._replace(precision="ieee")
    if device.type == "xpu":
        properties = torch.xpu.get_device_properties(device)
        return Device(properties.local_mem_size, 32, 8, "ieee")
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip is not None:
        return MI300X
    precision = "ieee"  # without matrix units
    if properties.major >= 8:
        precision = "tf32" if allows_tf32() else _exact()
    memory = getattr(properties, "shared_memory_per_block_optin", 48 << 10)
    return Device(memory, 32, 8, precision)


@cache
def _exact() -> str:
    """How float32 is multiplied on matrix units; Triton splits factors from 3.5 on."""
    from triton.backends.nvidia.compiler import CUDAOptions

    return "bf16x6" if "bf16x6" in CUDAOptions.allowed_dot_input_precisions else "ieee"


class Tiles(NamedTuple):
    """How a kernel is launched: a program has so many rows, and all units and features."""

    programs: int
    rows: int  # powers of two, as all of these
    units: int
    features: int
    warps: int

    @classmethod
    def over(cls, device: Device, rows: int, units: int, features: int) -> Tiles:
        """The tiles of a batch.

        Time goes by steps, and a step of as many rows as the matrix units multiply at once takes no
        less of it with fewer. Of a batch for which there are not processors enough, sixteen rows a
        program would take fewer rounds. But an H100 would multiply those by other instructions,
        with which kernels of Triton 3.6 have left their memory (its issues 10573 and 11366), and
        spill more; and up to 64 units a processor has room for several programs of eight.
        """
        of_program, units, features = device.rows, _padded(units), _padded(features)
        # A warp of NVIDIA's multiplies sixteen units by eight rows at once, and two warps that
        # share a tile would both do all of it.
        warps = min(8, max(4, units * of_program // (4 * device.warp)))
        return cls(-(-rows // of_program), of_program, units, features, warps)

    def run(self, kernel: Any, **arguments: Any) -> None:
        """Launch a kernel; its arguments by their names, so that none takes another's place."""
        kernel[(self.programs,)](
            **arguments,
            BLOCK_B=self.rows,
            BLOCK_H=self.units,
            BLOCK_F=self.features,
            num_warps=self.warps,
            num_stages=1,
        )


def _padded(width: int) -> int:
    """Of a tile; the matrix units multiply sixteen at least."""
    return max(16, power_of_two(width))


def factor_size(dtype: torch.dtype, device: Device) -> int:
    """The bytes of a factor of a product."""
    return 6 if dtype == torch.float32 and device.precision == "bf16x6" else dtype.itemsize


def memory_needed(device: Device, matrices: int, units: int, features: int, size: int) -> int:
    """The bytes that the kernels need at most: the weights, and what threads exchange.

    A matrix of weights has ``units`` by ``features`` factors of ``size`` bytes.
    """
    units, features = _padded(units), _padded(features)
    return size * (matrices * units * features + 5 * device.rows * max(units, features))
