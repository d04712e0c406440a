"""PyTorch's transformations of the layer: torch.func, double backward, autocast, per-sample."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

import fastlstm
from cases import differentiable, make_arguments
from fastlstm.ops import equations, scan
from fastlstm.ops.arguments import DIFFERENTIABLE, ScanArguments

SWITCHED: list[dict[str, Any]] = [
    {},
    {"bidirectional": True, "num_layers": 2},
    {"peephole": True, "layer_norm": True, "proj_size": 3, "num_layers": 2},
    {"coupled_gates": True, "cell_clip": 0.5, "residual": True, "num_layers": 2},
]


def make_layer(switches: dict[str, Any]) -> fastlstm.LSTM:
    return fastlstm.LSTM(4, 5, dtype=torch.float64, **switches)


def batch(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def loss(layer: fastlstm.LSTM, parameters: dict[str, Tensor], x: Tensor, **given: Any) -> Tensor:
    output, (h_n, c_n) = functional_call(layer, parameters, (x,), given)
    return output.square().sum() + h_n.sum() + (c_n**3).sum()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("switches", SWITCHED)
def test_vmap_over_inputs(switches: dict[str, Any]) -> None:
    layer, x = make_layer(switches), batch(6, 3, 2, 4)
    output, (h_n, c_n) = vmap(layer)(x)
    for example in range(6):
        expected, (expected_h, expected_c) = layer(x[example])
        close(output[example], expected)
        close(h_n[example], expected_h)
        close(c_n[example], expected_c)


def test_vmap_over_another_dimension_with_ragged_and_reset_batches() -> None:
    layer, x = make_layer({"bidirectional": True}), batch(3, 2, 6, 4)
    lengths = torch.randint(0, 4, (2, 6))
    reset = torch.rand(6, 3, 2) < 0.4

    def run(x: Tensor, lengths: Tensor, reset: Tensor) -> Tensor:
        return layer(x, lengths=lengths, reset=reset)[0]

    output = vmap(run, in_dims=(2, 1, 0), out_dims=1)(x, lengths, reset)
    for example in range(6):
        expected = run(x[:, :, example], lengths[:, example], reset[example])
        close(output[:, example], expected)


@pytest.mark.parametrize("switches", SWITCHED)
def test_vmap_over_weights(switches: dict[str, Any]) -> None:
    layers = [make_layer(switches) for _ in range(3)]
    parameters, _ = stack_module_state(layers)  # type: ignore[arg-type]
    x = batch(3, 2, 4)
    losses = vmap(lambda p: loss(layers[0], p, x))(parameters)
    gradients = grad(lambda p: vmap(lambda q: loss(layers[0], q, x))(p).sum())(parameters)
    for index, layer in enumerate(layers):
        own = dict(layer.named_parameters())
        close(losses[index], loss(layer, own, x))
        for name, gradient in grad(lambda p, m=layer: loss(m, p, x))(own).items():
            close(gradients[name][index], gradient)


@pytest.mark.parametrize("switches", SWITCHED)
def test_per_sample_gradients(switches: dict[str, Any]) -> None:
    layer, x = make_layer(switches), batch(6, 3, 2, 4)
    parameters = dict(layer.named_parameters())
    gradients = vmap(grad(lambda p, x: loss(layer, p, x)), in_dims=(None, 0))(parameters, x)
    for example in range(6):
        expected = grad(lambda p, e=example: loss(layer, p, x[e]))(parameters)
        for name, gradient in expected.items():
            close(gradients[name][example], gradient)


def test_gradient_through_per_sample_gradients() -> None:
    layer, x = make_layer({"peephole": True}), batch(3, 3, 2, 4)
    parameters = dict(layer.named_parameters())

    def norm(gradients: dict[str, Tensor]) -> Tensor:
        return torch.stack([g.square().sum() for g in gradients.values()]).sum()

    def all_norms(x: Tensor) -> Tensor:
        of_each = vmap(grad(lambda p, x: loss(layer, p, x)), in_dims=(None, 0))(parameters, x)
        return norm(of_each)

    def one_norm(x: Tensor) -> Tensor:
        return norm(grad(lambda p: loss(layer, p, x))(parameters))

    found = grad(all_norms)(x)
    assert found.abs().max() > 0.1
    for example in range(3):
        close(found[example], grad(one_norm)(x[example]))
        close(vmap(grad(one_norm))(x)[example], found[example])


@pytest.mark.parametrize("switches", SWITCHED)
def test_jvp(switches: dict[str, Any]) -> None:
    layer, x, tangent = make_layer(switches), batch(3, 2, 4), batch(3, 2, 4)
    lengths = torch.tensor([3, 1])

    def run(x: Tensor) -> Tensor:
        return layer(x, lengths=lengths)[0]

    _, derivative = jvp(run, (x,), (tangent,))
    jacobian = torch.autograd.functional.jacobian(run, x)
    close(derivative, (jacobian * tangent).sum((-3, -2, -1)))


def test_jacobians_and_hessian_agree_in_both_modes() -> None:
    layer, x = make_layer({"layer_norm": True}), batch(2, 1, 4)

    def total(x: Tensor) -> Tensor:
        return layer(x)[0].square().sum()

    close(jacfwd(lambda x: layer(x)[0])(x), jacrev(lambda x: layer(x)[0])(x))
    second = torch.autograd.functional.hessian(total, x)
    assert second.abs().max() > 0.1
    for found in (hessian(total), jacrev(jacrev(total)), jacrev(grad(total)), jacfwd(grad(total))):
        close(found(x), second)
    first = torch.autograd.functional.jacobian(total, x)
    of_norm = grad(lambda x: grad(total)(x).square().sum())(x)
    close(of_norm, 2 * (second * first).sum((-3, -2, -1)))


def test_forward_mode_dual_numbers() -> None:
    layer, x, tangent = make_layer({}), batch(3, 2, 4), batch(3, 2, 4)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        output = layer(dual)[0]
        found = torch.autograd.forward_ad.unpack_dual(output).tangent
    close(found, jvp(lambda x: layer(x)[0], (x,), (tangent,))[1])


@pytest.mark.parametrize(
    "switches",
    [
        (),
        ("projection", "peephole", "layer_norm", "lengths", "reset_state", "reverse"),
        ("coupled_gates", "zoneout_rates", "recurrent_mask", "no_bias"),
    ],
)
def test_gradgradcheck(switches: tuple[str, ...]) -> None:
    arguments = make_arguments(switches, steps=2, rows=2, features=2, save_every=1)
    names = [name for name in DIFFERENTIABLE if getattr(arguments, name) is not None]

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = arguments._replace(**dict(zip(names, values, strict=True)))
        return tuple(scan(given))[:3]

    values = tuple(differentiable(arguments))
    assert torch.autograd.gradcheck(run, values, fast_mode=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(run, values, fast_mode=True, check_batched_grad=True)


@pytest.mark.parametrize("switches", SWITCHED)
def test_double_and_triple_backward_of_layers_on_layers(switches: dict[str, Any]) -> None:
    """Against the equations, which PyTorch differentiates by itself."""
    layer, x = make_layer(switches), batch(3, 2, 4).requires_grad_()
    parameters = list(layer.parameters())

    def derivatives() -> list[Tensor]:
        first = torch.autograd.grad(layer(x)[0].pow(3).sum(), [x, *parameters], create_graph=True)
        norm = torch.stack([g.square().sum() for g in first]).sum()
        second = torch.autograd.grad(norm, [x, *parameters], create_graph=True)
        norm = torch.stack([g.square().sum() for g in second]).sum()
        return [*first, *second, *torch.autograd.grad(norm, [x, *parameters])]

    found = derivatives()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastlstm.nn.stack.scan", equations.scan)
        expected = derivatives()
    for one, other in zip(found, expected, strict=True):
        scale = other.abs().max().clamp(min=1)
        close(one / scale, other / scale)


def test_backward_after_an_eval_mode_forward() -> None:
    layer, x = make_layer({"num_layers": 2}).eval(), batch(3, 2, 4).requires_grad_()
    reference = torch.nn.LSTM(4, 5, 2, dtype=torch.float64)
    reference.load_state_dict(layer.state_dict())
    for module in (layer, reference):
        module(x)[0].sum().backward()
    for one, other in zip(layer.parameters(), reference.parameters(), strict=True):
        close(one.grad, other.grad)


def test_autocast_gives_what_torch_gives() -> None:
    layer, x = fastlstm.LSTM(4, 5, 2, bidirectional=True), torch.randn(7, 3, 4)
    reference = torch.nn.LSTM(4, 5, 2, bidirectional=True)
    reference.load_state_dict(layer.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = layer(x), reference(x)
        cell = fastlstm.LSTMCell(4, 5)(x[0])
    assert [found[0].dtype, *(s.dtype for s in found[1])] == [torch.bfloat16] * 3
    assert [expected[0].dtype, *(s.dtype for s in expected[1])] == [torch.bfloat16] * 3
    assert cell[0].dtype == torch.bfloat16
    torch.testing.assert_close(found[0], expected[0], rtol=0.03, atol=0.01)
    found[0].float().sum().backward()
    assert {p.grad.dtype for p in layer.parameters() if p.grad is not None} == {torch.float32}
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("backend", ["reference", "engine"])
@pytest.mark.parametrize("switches", [{}, {"layer_norm": True}], ids=str)
def test_autocast_changes_no_backward_pass(switches: dict[str, Any], backend: str) -> None:
    layer, x = fastlstm.LSTM(4, 5, **switches), torch.randn(7, 3, 4)
    with fastlstm.backend(backend):
        loss = layer(x)[0].sin().sum()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            of_cast = layer(x)[0].float().sin().sum()
    for each in (loss, of_cast):
        outside = torch.autograd.grad(each, list(layer.parameters()), retain_graph=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = torch.autograd.grad(each, list(layer.parameters()))
        torch.testing.assert_close(inside, outside, rtol=0, atol=0)


def test_autocast_leaves_float64_alone() -> None:
    layer, x = make_layer({}), batch(3, 2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x)[0]
    close(output, layer(x)[0])


def test_expanded_weights_give_per_sample_gradients() -> None:
    layer = make_layer({"num_layers": 2, "batch_first": True})
    x = batch(6, 3, 4)
    output = call_for_per_sample_grads(layer, batch_size=6, loss_reduction="sum")(x)[0]
    output.square().sum().backward()
    parameters = dict(layer.named_parameters())
    for example in range(6):
        of_one = {
            name: torch.autograd.grad(layer(x[example : example + 1])[0].square().sum(), parameter)[
                0
            ]
            for name, parameter in parameters.items()
        }
        for name, parameter in parameters.items():
            close(parameter.grad_sample[example], of_one[name])  # type: ignore[attr-defined]


def test_gradient_of_every_argument_exists_under_vmap() -> None:
    """A gradient for each row: as if each had been run alone."""
    arguments = make_arguments(("projection", "peephole", "layer_norm", "reset_state"), rows=1)
    names = [name for name in DIFFERENTIABLE if getattr(arguments, name) is not None]
    values = [getattr(arguments, name).detach() for name in names]
    xs = torch.randn(4, *arguments.input.shape, dtype=torch.float64)

    def total(x: Tensor, *values: Tensor) -> Tensor:
        given: ScanArguments = arguments._replace(**dict(zip(names, values, strict=True)))
        return scan(given._replace(input=x)).output.square().sum()

    take = tuple(range(1, len(values) + 1))
    of_each = vmap(grad(total, argnums=take), in_dims=(0, *[None] * len(values)))(xs, *values)
    for example in range(4):
        alone = grad(total, argnums=take)(xs[example], *values)
        for found, expected in zip(of_each, alone, strict=True):
            close(found[example], expected)
