"""What the programs of a Triton kernel read and write, under the interpreter, and what is wrong.

On a GPU the programs of a launch run at once, in any order. So none may write where another one
reads or writes, but with an atomic operation, and all must keep to the tensors that they are given.
Of "triton-grid", under the interpreter, a launch is what lies between two of its barriers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from triton.runtime import interpreter

Access = tuple[tuple[int, ...], np.ndarray, int]
"""A program, the addresses that it reads or writes, and the bytes of a number."""


class Launch:
    """One launch of a kernel, as it goes on."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self._pieces = {
            name: (tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
            for name, tensor in tensors.items()
        }
        self.reads: list[Access] = []
        self.writes: list[Access] = []
        self.programs: set[tuple[int, ...]] = set()

    def faults(self) -> list[str]:
        """What is wrong, if anything is, each with the name of a tensor."""
        found = [f"out of bounds: {address:#x}" for address in self._out_of_bounds()]
        addresses, writers = _pairs(self.writes)
        twice = addresses[:-1][addresses[:-1] == addresses[1:]]
        found += [f"{self._name(one)}: written by two programs" for one in twice]
        read, readers = _pairs(self.reads)
        if len(addresses):
            place = np.minimum(np.searchsorted(addresses, read), len(addresses) - 1)
            shared = (addresses[place] == read) & (writers[place] != readers)
            found += [f"{self._name(one)}: read and written by two" for one in read[shared]]
        return list(dict.fromkeys(found))

    def _out_of_bounds(self) -> list[int]:
        starts = np.array([start for start, _ in self._pieces.values()], np.uint64)
        ends = np.array([start + size for start, size in self._pieces.values()], np.uint64)
        found = []
        for _, addresses, size in self.reads + self.writes:
            first, last = addresses[:, None], addresses[:, None] + np.uint64(size)
            inside = ((first >= starts) & (last <= ends)).any(axis=1)
            found += [int(one) for one in addresses[~inside]]
        return found

    def _name(self, address: Any) -> str:
        pieces = self._pieces.items()
        return next(name for name, (start, size) in pieces if start <= int(address) < start + size)


def _pairs(accesses: list[Access]) -> tuple[np.ndarray, np.ndarray]:
    """Each address with each program that accesses it, once, by address."""
    both = [np.stack((a, np.full_like(a, x + (y << 32)))) for (x, y, _), a, _ in accesses]
    if not both:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    addresses, numbers = np.unique(np.concatenate(both, axis=1), axis=1)
    return addresses, numbers


@contextmanager
def watched() -> Iterator[list[Launch]]:
    """A block whose launches are kept."""
    builder, executor = interpreter.interpreter_builder, interpreter.GridExecutor
    load, store = builder.create_masked_load, builder.create_masked_store
    begin = executor._init_args_hst
    launches: list[Launch] = []

    def starts(self: Any, args: Any, kwargs: Any) -> Any:
        copies = begin(self, args, kwargs)
        named = {**dict(zip(self.arg_names, copies[0], strict=False)), **copies[1]}
        tensors = {n: t for n, t in named.items() if isinstance(t, torch.Tensor)}
        launches.append(Launch(tensors))
        return copies

    def note(kept: list[Access], pointers: Any, mask: Any) -> None:
        size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        wanted = np.broadcast_to(mask.data, pointers.data.shape).astype(bool)
        addresses = np.unique(pointers.data[wanted])
        launches[-1].programs.add(builder.grid_idx)
        kept.append((builder.grid_idx, addresses, size))

    def loads(pointers: Any, mask: Any, *others: Any) -> Any:
        note(launches[-1].reads, pointers, mask)
        return load(pointers, mask, *others)

    def stores(pointers: Any, value: Any, mask: Any, *others: Any) -> Any:
        note(launches[-1].writes, pointers, mask)
        return store(pointers, value, mask, *others)

    with (
        mock.patch.object(executor, "_init_args_hst", starts),
        mock.patch.object(builder, "create_masked_load", loads),
        mock.patch.object(builder, "create_masked_store", stores),
    ):
        yield launches
