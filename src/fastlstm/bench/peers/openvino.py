"""OpenVINO on the CPU."""

from collections.abc import Callable
from typing import Any

import torch

from fastlstm.bench.contender import Contender
from fastlstm.bench.peers.onnx_model import named_results, onnx_model, output_names
from fastlstm.bench.peers.peer import Peer, load
from fastlstm.bench.problem import Problem, Results, UnavailableError

PRECISION = {"float32": "f32", "bfloat16": "bf16"}


def _make(problem: Problem, threads: int, expected: Callable[[], Results]) -> Contender:
    case = problem.case
    if case.training:
        raise UnavailableError("inference only")
    openvino = load("openvino")
    core = openvino.Core()
    if case.dtype == "bfloat16" and "BF16" not in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise UnavailableError("no bfloat16 on this CPU")
    compiled = core.compile_model(
        core.read_model(onnx_model(problem)),
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": PRECISION[case.dtype],
            "PERFORMANCE_HINT": "LATENCY",
            # Which cores the process may use is set for all peers alike.
            "ENABLE_CPU_PINNING": False,
        },
    )
    precisions = _precisions(compiled)
    if precisions != {PRECISION[case.dtype]}:
        raise UnavailableError(f"runs in {' and '.join(sorted(precisions))}")
    request = compiled.create_infer_request()
    # Set once, so that no call copies its input. A copy here, as the request keeps no array alive.
    input = openvino.Tensor(problem.input.float().numpy(), shared_memory=False)
    request.set_tensor("input", input)

    def call() -> None:
        request.start_async()
        request.wait()

    def results() -> Results:
        call()
        return named_results(
            case, [torch.tensor(request.get_tensor(name).data) for name in output_names(case)]
        )

    return Contender(call, results, expected)


def _precisions(compiled: Any) -> set[str]:
    """In which precisions the LSTM itself runs: a hint may be ignored."""
    return {
        str(node.get_rt_info()["runtimePrecision"].value).lower()
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].value == "RNNSeq"
    }


OPENVINO = Peer("OpenVINO", ("onnx", "openvino"), _make)
