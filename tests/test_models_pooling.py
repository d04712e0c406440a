"""Pooling: values, ragged batches, what padding may not reach."""

import pytest
import torch
from torch import Tensor

from fastlstm.models import ModelError, make_pooling, pooled_size

KINDS = ["last", "mean", "max", "concat", "attention"]
LENGTHS = [5, 1, 3, 0]


def make(kind: str, bidirectional: bool = True) -> torch.nn.Module:
    return make_pooling(kind, 6, bidirectional).double()  # type: ignore[arg-type]


def poisoned() -> tuple[Tensor, Tensor]:
    x, lengths = torch.randn(4, 5, 6, dtype=torch.float64), torch.tensor(LENGTHS)
    return torch.where((torch.arange(5) < lengths[:, None])[..., None], x, torch.nan), lengths


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_last_takes_each_direction_at_its_own_end() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    lengths = torch.tensor([3, 2])
    both = make_pooling("last", 4, bidirectional=True)
    assert both(x, lengths).tolist() == [[8, 9, 2, 3], [16, 17, 14, 15]]
    assert both(x).tolist() == [[8, 9, 2, 3], [20, 21, 14, 15]]
    one = make_pooling("last", 4, bidirectional=False)
    assert one(x, lengths).tolist() == [[8, 9, 10, 11], [16, 17, 18, 19]]
    assert one(x).tolist() == [[8, 9, 10, 11], [20, 21, 22, 23]]


def test_mean_and_max_are_over_the_real_steps() -> None:
    x = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [9.0, 9.0]]])
    lengths = torch.tensor([2])
    assert make_pooling("mean", 2, False)(x, lengths).tolist() == [[2.0, -3.0]]
    assert make_pooling("max", 2, False)(x, lengths).tolist() == [[3.0, -1.0]]


def test_concat_is_last_mean_and_max() -> None:
    x, lengths = poisoned()
    parts = [make(kind)(x, lengths) for kind in ("last", "mean", "max")]
    found = make("concat")(x, lengths)
    assert torch.equal(found, torch.cat(parts, dim=1))
    assert found.shape == (4, pooled_size("concat", 6))
    assert not torch.equal(make("concat", bidirectional=False)(x, lengths), found)


def test_attention_weighs_by_the_answer_to_its_query() -> None:
    pooling = make("attention")
    x, lengths = poisoned()
    found = pooling(x, lengths)
    for row, length in enumerate(LENGTHS[:3]):
        hidden = torch.tanh(x[row, :length] @ pooling.hidden.weight.T + pooling.hidden.bias)
        weights = (hidden @ pooling.query.weight[0]).softmax(0)
        close(pooling.weights(x, lengths)[row, :length], weights)
        close(found[row], weights @ x[row, :length])
    assert pooling.weights(x, lengths)[3].tolist() == [0] * 5


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_a_ragged_batch_is_as_it_is_alone(kind: str, bidirectional: bool) -> None:
    pooling = make(kind, bidirectional)
    x, lengths = poisoned()
    found = pooling(x, lengths)
    for row, length in enumerate(LENGTHS[:3]):
        close(found[row], pooling(x[row : row + 1, :length])[0])
    assert found[3].tolist() == [0] * pooled_size(kind, 6)  # type: ignore[arg-type]
    longer = torch.cat((x, x.new_full((4, 3, 6), torch.nan)), dim=1)
    close(pooling(longer, lengths), found)
    close(pooling(x[:1], lengths[:1]), pooling(x[:1]))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_reaches_no_gradient(kind: str) -> None:
    pooling = make(kind)
    x, lengths = poisoned()
    x.requires_grad_()
    # Not even on the way there: who looks for the source of a NaN would find this one.
    with torch.autograd.set_detect_anomaly(True):
        pooling(x, lengths).square().sum().backward()
    dead = torch.arange(5) >= lengths[:, None]
    assert x.grad is not None and not x.grad[dead].any()
    assert x.grad[~dead].any() and x.grad.isfinite().all()
    for parameter in pooling.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
        assert parameter.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    pooling, lengths = make(kind), torch.tensor(LENGTHS)
    x = torch.randn(4, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pooling(x, lengths), (x,))


def test_an_unknown_kind_is_named() -> None:
    message = "pooling must be one of last, mean, max, concat, attention, got 'sum'"
    with pytest.raises(ModelError) as error:
        make_pooling("sum", 6, False)  # type: ignore[arg-type]
    assert str(error.value) == message
