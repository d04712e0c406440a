"""torch.compile, torch.export, TorchScript and FX: what PyTorch's tools make of the layer."""

from typing import Any

import pytest
import torch
from torch import Tensor

import fastlstm

SWITCHED: list[dict[str, Any]] = [
    {"num_layers": 2, "bidirectional": True},
    {"peephole": True, "layer_norm": True, "proj_size": 3, "checkpoint_every": 2},
    {"coupled_gates": True, "cell_clip": 0.5, "zoneout": 0.1},
]


def batch(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def scans_in(graph: torch.fx.Graph) -> int:
    return sum(str(node.target).startswith("fastlstm.scan") for node in graph.nodes)


@pytest.mark.parametrize("switches", SWITCHED)
def test_compiles_into_one_graph_with_any_number_of_steps_and_rows(
    switches: dict[str, Any],
) -> None:
    layer = fastlstm.LSTM(4, 5, dtype=torch.float64, **switches).eval()
    graphs: list[torch.fx.GraphModule] = []

    def keep(module: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(module)
        return module.forward

    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=keep)
    for steps, rows in ((7, 3), (11, 6), (5, 9)):
        x = batch(steps, rows, 4).requires_grad_()
        lengths = torch.randint(0, steps + 1, (rows,))
        reset = torch.rand(steps, rows) < 0.3
        found = compiled(x, lengths=lengths, reset=reset)
        expected = layer(x, lengths=lengths, reset=reset)
        close(found[0], expected[0])
        close(found[1][1], expected[1][1])
        gradient = torch.autograd.grad(found[0].square().sum(), x)[0]
        close(gradient, torch.autograd.grad(expected[0].square().sum(), x)[0])
    assert len(graphs) == 1
    assert scans_in(graphs[0].graph) == len(layer.layer_parameters())


def test_compiles_with_inductor_forward_and_backward() -> None:
    layer = fastlstm.LSTM(4, 5, 2, dtype=torch.float64, bidirectional=True)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4, dtype=torch.float64), layer)
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    for steps, rows in ((7, 3), (11, 6)):
        x = batch(steps, rows, 4)
        expected = torch.autograd.grad(model(x)[0].square().sum(), list(model.parameters()))
        found = torch.autograd.grad(compiled(x)[0].square().sum(), list(model.parameters()))
        for one, other in zip(found, expected, strict=True):
            close(one, other)


def test_the_cell_compiles() -> None:
    cell = fastlstm.LSTMCell(4, 5, dtype=torch.float64)
    compiled = torch.compile(cell, fullgraph=True, backend="aot_eager")
    x = batch(3, 4)
    close(compiled(x)[0], cell(x)[0])


def test_torchs_own_lstm_is_still_refused_by_dynamo() -> None:
    torch.compile(fastlstm.LSTM(4, 5), fullgraph=True, backend="eager")(torch.randn(3, 2, 4))
    assert torch._dynamo.config.allow_rnn is False  # type: ignore[attr-defined]
    theirs = torch.compile(torch.nn.LSTM(4, 5), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="RNN, GRU, or LSTM"):
        theirs(torch.randn(3, 2, 4))


@pytest.mark.parametrize("switches", SWITCHED)
def test_exports_with_any_number_of_steps_and_rows(switches: dict[str, Any]) -> None:
    layer = fastlstm.LSTM(4, 5, dtype=torch.float64, **switches).eval()
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {
        "input": {0: dynamic, 1: dynamic},
        "lengths": {0: dynamic},
        "reset": {0: dynamic, 1: dynamic},
    }
    given = {"lengths": torch.tensor([7, 2, 0]), "reset": torch.zeros(7, 3, dtype=torch.bool)}
    program = torch.export.export(layer, (batch(7, 3, 4),), given, dynamic_shapes=shapes)
    assert scans_in(program.graph) == len(layer.layer_parameters())
    x, lengths, reset = batch(11, 6, 4), torch.tensor([11, 0, 4, 9, 1, 11]), torch.rand(11, 6) < 0.3
    found = program.module()(x, lengths=lengths, reset=reset)
    expected = layer(x, lengths=lengths, reset=reset)
    close(found[0], expected[0])
    close(found[1][0], expected[1][0])


def test_fx_keeps_the_layers_as_nodes() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below = fastlstm.LSTM(4, 5, peephole=True)
            self.cell = fastlstm.LSTMCell(5, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(self.below(x)[0][-1])[0]

    model, x = Model(), torch.randn(7, 3, 4)
    traced = torch.fx.symbolic_trace(model)
    modules = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert modules == ["below", "cell"]
    assert torch.equal(traced(x), model(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("layers", [1, 2])
def test_torchscript_traces_the_layer(layers: int) -> None:
    layer = fastlstm.LSTM(4, 5, layers, dtype=torch.float64, peephole=True)
    with pytest.warns(torch.jit.TracerWarning):
        traced = torch.jit.trace(layer, (batch(7, 3, 4),))
    x = batch(7, 3, 4)
    found, expected = traced(x), layer(x)
    close(found[0], expected[0])
    gradients = torch.autograd.grad(found[0].sum(), list(layer.parameters()))
    for one, other in zip(
        gradients, torch.autograd.grad(expected[0].sum(), list(layer.parameters())), strict=True
    ):
        close(one, other)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("kind", ["LSTM", "LSTMCell"])
def test_torchscript_compiles_pytorchs_layer_in_its_place_and_says_so(kind: str) -> None:
    class Model(torch.nn.Module):
        def __init__(self, layer: torch.nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[0]

    layer = getattr(fastlstm, kind)(4, 5, dtype=torch.float64)
    x = batch(7, 3, 4) if kind == "LSTM" else batch(3, 4)
    expected = layer(x)[0]
    message = f"torch.jit.script compiles a torch.nn.{kind} in place of {kind}: the same numbers"
    with pytest.warns(UserWarning, match=message):
        scripted = torch.jit.script(Model(layer))
    close(scripted(x), expected)
    assert scripted.layer.original_name == kind
    pointers = {value.data_ptr() for value in scripted.parameters()}
    assert pointers == {value.data_ptr() for value in layer.parameters()}
    assert type(layer) is getattr(fastlstm, kind)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_torchscript_refuses_what_it_cannot_express() -> None:
    layer = fastlstm.LSTM(4, 5, layer_norm=True)
    with pytest.raises(ValueError, match=r"torch\.jit\.script: this layer has layer_norm=True"):
        torch.jit.script(layer)
