"""Triton's interpreter in the tests: whether it can be had, and repairs of it."""

import importlib.util
from typing import Any

import pytest
import torch

_IS_AT_HAND = importlib.util.find_spec("triton") is not None and not torch.cuda.is_available()

needs_interpreter = pytest.mark.skipif(
    not _IS_AT_HAND, reason="Triton has no wheel for this machine, or compiles for its GPU"
)

if _IS_AT_HAND:
    import triton.language as tl
    from triton.runtime import interpreter

    _patch = interpreter._patch_lang_tensor
    _convert_float = interpreter._convert_float
    _create_dot = interpreter.InterpreterBuilder.create_dot

    def _patch_and_count(tensor: Any, scope: Any) -> None:
        """Have ``range`` take a number of the interpreter, which is an array of one.

        NumPy 2.4 makes no number of that; Triton 3.6 expects it to.
        """
        _patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    def _dot(builder: Any, a: Any, b: Any, *others: Any) -> Any:
        """Have products of bfloat16 be those of its numbers; Triton 3.6 multiplies their bits."""
        a, b = (
            builder.create_fp_to_fp(x, tl.block_type(tl.float32, list(x.data.shape)), None)
            if x.dtype == tl.bfloat16
            else x
            for x in (a, b)
        )
        return _create_dot(builder, a, b, *others)

    def _rounded(x: Any, before: Any, after: Any, rounding: Any) -> Any:
        """Round float32 to the nearest bfloat16, as GPUs do; Triton 3.6 cuts off."""
        if (before, after) != (tl.float32, tl.bfloat16):
            return _convert_float(x, before, after, rounding)
        return torch.tensor(x).bfloat16().view(torch.uint16).numpy()

    interpreter._patch_lang_tensor = _patch_and_count
    interpreter._convert_float = _rounded
    interpreter.InterpreterBuilder.create_dot = _dot
