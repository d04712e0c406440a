"""The LSTM as an ONNX model, for the runtimes that read one."""

from typing import Any

import torch
from torch import Tensor

from fastlstm.bench.peers.peer import load
from fastlstm.bench.problem import Case, Problem, Results

OPERATOR_SET, FORMAT_VERSION = 21, 10
"""Older than the newest, as a runtime refuses a model that is newer than itself."""


def onnx_model(problem: Problem) -> bytes:
    """The serialized model: ``input`` to ``output``, and to ``h_<layer>`` and ``c_<layer>``.

    Its weights are float32. Initial states are left out: zeros.
    """
    onnx = load("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    case = problem.case
    D, H = case.directions, case.hidden_size
    constants: list[Any] = []
    nodes: list[Any] = []

    def constant(name: str, value: Tensor) -> str:
        constants.append(onnx.numpy_helper.from_array(value.numpy(), name))
        return name

    constant("output_shape", torch.tensor([case.steps, case.batch, D * H]))
    below = "input"
    for layer in range(case.layers):
        nodes.append(
            helper.make_node(
                "LSTM",
                [
                    below,
                    constant(f"W_{layer}", _of_layer(problem, "weight_ih", layer)),
                    constant(f"R_{layer}", _of_layer(problem, "weight_hh", layer)),
                    constant(
                        f"B_{layer}",
                        torch.cat(
                            [_of_layer(problem, name, layer) for name in ("bias_ih", "bias_hh")], 1
                        ),
                    ),
                ],
                [f"Y_{layer}", f"h_{layer}", f"c_{layer}"],
                hidden_size=H,
                direction="bidirectional" if case.bidirectional else "forward",
            )
        )
        # Y is (T, D, B, H).
        above = "output" if layer == case.layers - 1 else f"X_{layer + 1}"
        nodes.append(
            helper.make_node("Transpose", [f"Y_{layer}"], [f"Z_{layer}"], perm=[0, 2, 1, 3])
        )
        nodes.append(helper.make_node("Reshape", [f"Z_{layer}", "output_shape"], [above]))
        below = above
    outputs = [("output", [case.steps, case.batch, D * H])]
    outputs += [
        (f"{name}_{layer}", [D, case.batch, H]) for name in "hc" for layer in range(case.layers)
    ]
    graph = helper.make_graph(
        nodes,
        "lstm",
        [
            helper.make_tensor_value_info(
                "input", float32, [case.steps, case.batch, case.input_size]
            )
        ],
        [helper.make_tensor_value_info(name, float32, shape) for name, shape in outputs],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPERATOR_SET)],
        ir_version=FORMAT_VERSION,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def output_names(case: Case) -> list[str]:
    """The outputs of the model."""
    return ["output", *(f"{name}_{layer}" for name in "hc" for layer in range(case.layers))]


def named_results(case: Case, outputs: list[Tensor]) -> Results:
    """The outputs of the model, in order, under the names of ``torch.nn.LSTM``'s."""
    final = outputs[1:]
    return {
        "output": outputs[0],
        "h_n": torch.cat(final[: case.layers]),
        "c_n": torch.cat(final[case.layers :]),
    }


def _of_layer(problem: Problem, name: str, layer: int) -> Tensor:
    """A parameter in both directions, (D, 4H, ·) in float32, in ONNX's order of the gates."""
    suffixes = ["", "_reverse"][: problem.case.directions]
    values = torch.stack(
        [problem.parameters[f"{name}_l{layer}{suffix}"].float() for suffix in suffixes]
    )
    i, f, g, o = values.chunk(4, dim=1)
    return torch.cat((i, o, f, g), dim=1)
