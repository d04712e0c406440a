"""ONNX Runtime on the CPU."""

from collections.abc import Callable

import torch

from fastlstm.bench.contender import Contender
from fastlstm.bench.peers.onnx_model import named_results, onnx_model, output_names
from fastlstm.bench.peers.peer import Peer, load
from fastlstm.bench.problem import Problem, Results, UnavailableError


def _make(problem: Problem, threads: int, expected: Callable[[], Results]) -> Contender:
    case = problem.case
    if case.training:
        raise UnavailableError("inference only")
    if case.dtype != "float32":
        raise UnavailableError("float32 only")
    runtime = load("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = runtime.InferenceSession(
        onnx_model(problem), options, providers=["CPUExecutionProvider"]
    )
    # Bound once, so that no call copies its input or allocates its output.
    binding = session.io_binding()
    binding.bind_cpu_input("input", problem.input.numpy())
    for name in output_names(case):
        binding.bind_output(name, "cpu")

    def results() -> Results:
        session.run_with_iobinding(binding)
        return named_results(case, [torch.tensor(value) for value in binding.copy_outputs_to_cpu()])

    return Contender(lambda: session.run_with_iobinding(binding), results, expected)


ONNX_RUNTIME = Peer("ONNX Runtime", ("onnx", "onnxruntime"), _make)
