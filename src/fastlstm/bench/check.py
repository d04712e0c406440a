"""Whether results are right: the largest error in each tensor against a float64 result."""

from torch import Tensor

from fastlstm.bench.problem import Results

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
"""The largest error allowed, as a share of the largest number in the tensor.

In the shapes of ``benchmarks/`` ``torch.nn.LSTM`` errs by up to 7e-6 of it in float32, and by up
to 6e-3 in bfloat16, which has 8 significant bits and to which the hidden state is rounded in each
step. A result of zeros errs by 1.
"""

ROUNDING_FACTOR = 4.0
"""How many times the error of the equations themselves, in the same precision, is allowed.

Both are root mean squares: where errors grow from step to step, the largest one is that of the
number that happened to grow most, and differs by as much from one draw to the next.
"""

MOST = 0.1
"""The largest error allowed in any case, in the same unit as the tolerance."""


def disagreement(
    results: Results, expected: Results, dtype: str, rounded: Results | None = None
) -> str | None:
    """What is wrong with the results, naming the first tensor that is; None if they are right.

    Args:
        results: what was computed.
        expected: the same in float64.
        dtype: the precision of the results, which decides the tolerance.
        rounded: the plain equations' results in that precision. Layer norm with its initial gains
            multiplies every rounding error from step to step, so that a hundred steps leave none
            within the tolerance; what the equations themselves are off by is then the measure.
    """
    if results.keys() != expected.keys():
        return f"computed {', '.join(results)}, expected {', '.join(expected)}"
    for name, right in expected.items():
        found = results[name]
        if found.shape != right.shape:
            return f"{name} has shape {list(found.shape)}, expected {list(right.shape)}"
        largest = float(right.abs().max())
        allowed = TOLERANCE[dtype] * largest
        error = float((found.double() - right).abs().max())
        if rounded is not None and error <= MOST * largest:
            of_equations = _root_mean_square(rounded[name].double() - right)
            if _root_mean_square(found.double() - right) <= ROUNDING_FACTOR * of_equations:
                continue
        # Turned round, so that NaN is an error. What should be all zeros must be (the gradient of
        # the recurrent weight is, where there is one step).
        if not error <= allowed:
            return f"{name} is off by {error:.1e}, its largest value is {largest:.1e}"
    return None


def _root_mean_square(error: Tensor) -> float:
    return float(error.square().mean().sqrt())
