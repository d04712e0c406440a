"""JAX: the equations in a jitted ``lax.scan``, differentiated by JAX."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastlstm.bench.contender import Contender
from fastlstm.bench.peers.peer import Peer, load
from fastlstm.bench.problem import Case, Problem, Results


def _make(problem: Problem, threads: int, expected: Callable[[], Results]) -> Contender:
    case = problem.case
    jax = _load_jax(threads)
    parameters = {name: _to_jax(jax, value) for name, value in problem.parameters.items()}
    input, cotangent = _to_jax(jax, problem.input), _to_jax(jax, problem.cotangent)

    def forward(parameters: dict[str, Any], input: Any) -> Any:
        return _lstm(jax, case, parameters, input)

    def forward_backward(parameters: dict[str, Any], input: Any, cotangent: Any) -> Any:
        output, pull_back = jax.vjp(lambda *inputs: forward(*inputs)[0], parameters, input)
        return output, pull_back(cotangent)

    if case.training:
        arguments = (parameters, input, cotangent)
        compiled = jax.jit(forward_backward).lower(*arguments).compile()
    else:
        arguments = (parameters, input)
        compiled = jax.jit(forward).lower(*arguments).compile()

    def call() -> Any:
        return jax.block_until_ready(compiled(*arguments))

    def results() -> Results:
        if case.training:
            output, (gradients, d_input) = call()
            named = {"output": output, "d_input": d_input}
            named |= {f"d_{name}": gradients[name] for name in problem.parameters}
        else:
            named = dict(zip(("output", "h_n", "c_n"), call(), strict=True))
        return {name: _to_torch(jax, value) for name, value in named.items()}

    return Contender(call, results, expected)


def _load_jax(threads: int) -> Any:
    """Import JAX for this many threads.

    It has no setting for them: XLA starts a worker for each core that the process may run on when
    it is first used, and can only be told to use none.
    """
    if "XLA_FLAGS" not in os.environ and threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # A hand-over to another thread that the caller then waits for would only cost time.
    os.environ.setdefault("JAX_CPU_ENABLE_ASYNC_DISPATCH", "false")
    return load("jax")


def _lstm(jax: Any, case: Case, parameters: dict[str, Any], x: Any) -> tuple[Any, Any, Any]:
    """The output and the final states of all layers, as ``torch.nn.LSTM`` returns them."""
    final_h, final_c = [], []
    for layer in range(case.layers):
        outputs = []
        for suffix in ["", "_reverse"][: case.directions]:
            of_layer = [
                parameters[f"{name}_l{layer}{suffix}"]
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            output, h, c = _one_direction(jax, x, *of_layer, reverse=suffix != "")
            outputs.append(output)
            final_h.append(h)
            final_c.append(c)
        x = jax.numpy.concatenate(outputs, axis=-1)
    return x, jax.numpy.stack(final_h), jax.numpy.stack(final_c)


def _one_direction(
    jax: Any, x: Any, W: Any, R: Any, b_ih: Any, b_hh: Any, reverse: bool
) -> tuple[Any, Any, Any]:
    """One layer: the product with W for all steps at once, sums and cell in float32."""
    numpy = jax.numpy
    float32 = numpy.float32
    gates_x = numpy.matmul(x, W.T, preferred_element_type=float32)
    gates_x = gates_x + (b_ih.astype(float32) + b_hh.astype(float32))
    # Rounded to 16 bits inside the step and not before it, as the gradient of what a step uses is
    # summed over the steps in that thing's precision: in 16 bits it would be off by a tenth.
    R_float32 = R.astype(float32)

    def step(state: tuple[Any, Any], of_step: Any) -> tuple[tuple[Any, Any], Any]:
        h, c = state
        R = R_float32.astype(x.dtype)
        z = of_step + numpy.matmul(h, R.T, preferred_element_type=float32)
        i, f, g, o = numpy.split(z, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * numpy.tanh(g)
        h = (jax.nn.sigmoid(o) * numpy.tanh(c)).astype(x.dtype)
        return (h, c), h

    rows, hidden = x.shape[1], R.shape[1]
    state = numpy.zeros((rows, hidden), x.dtype), numpy.zeros((rows, hidden), float32)
    (h, c), output = jax.lax.scan(step, state, gates_x, reverse=reverse)
    return output, h, c


def _to_jax(jax: Any, value: Tensor) -> Any:
    dtype = jax.numpy.bfloat16 if value.dtype == torch.bfloat16 else jax.numpy.float32
    return jax.numpy.asarray(value.float().numpy(), dtype=dtype)


def _to_torch(jax: Any, value: Any) -> Tensor:
    # Through float32, as numpy has no bfloat16 that torch would take.
    return torch.tensor(jax.device_get(value.astype(jax.numpy.float32)))


JAX = Peer("JAX", ("jax",), _make)
