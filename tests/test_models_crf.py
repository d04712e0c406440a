"""The linear-chain CRF against the sum over every sequence of labels, in float64."""

import itertools

import pytest
import torch
from torch import Tensor

from fastlstm.models import LinearChainCRF, ModelError

LENGTHS = [5, 1, 3, 0]
STEPS, LABELS = 5, 3


def make_crf(labels: int = LABELS) -> LinearChainCRF:
    crf = LinearChainCRF(labels).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def make_scores(rows: int = len(LENGTHS)) -> Tensor:
    return torch.randn(rows, STEPS, LABELS, dtype=torch.float64)


def score_of(crf: LinearChainCRF, scores: Tensor, labels: tuple[int, ...]) -> Tensor:
    total = crf.start[labels[0]] + crf.end[labels[-1]]
    for step, label in enumerate(labels):
        total = total + scores[step, label]
    for one, other in itertools.pairwise(labels):
        total = total + crf.transitions[one, other]
    return total


def enumerate_all(crf: LinearChainCRF, scores: Tensor) -> tuple[list[tuple[int, ...]], Tensor]:
    """Every sequence of labels of one row, and its probability."""
    every = list(itertools.product(range(scores.shape[1]), repeat=scores.shape[0]))
    return every, torch.stack([score_of(crf, scores, labels) for labels in every]).softmax(0)


@pytest.fixture
def ragged() -> tuple[LinearChainCRF, Tensor, Tensor, Tensor]:
    crf, scores = make_crf(), make_scores()
    labels, lengths = torch.randint(LABELS, (len(LENGTHS), STEPS)), torch.tensor(LENGTHS)
    for row, length in enumerate(LENGTHS):
        scores[row, length:] = torch.nan
        labels[row, length:] = 99
    return crf, scores, labels, lengths


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_log_likelihood_is_that_of_enumeration(ragged) -> None:
    crf, scores, labels, lengths = ragged
    found = crf.log_likelihood(scores, labels, lengths)
    for row, length in enumerate(LENGTHS[:3]):
        every, probabilities = enumerate_all(crf, scores[row, :length])
        index = every.index(tuple(labels[row, :length].tolist()))
        close(found[row], probabilities[index].log())
    assert found[3] == 0


def test_marginals_are_those_of_enumeration(ragged) -> None:
    crf, scores, _, lengths = ragged
    found = crf.marginals(scores, lengths)
    for row, length in enumerate(LENGTHS[:3]):
        every, probabilities = enumerate_all(crf, scores[row, :length])
        expected = torch.zeros(length, LABELS, dtype=torch.float64)
        for labels, probability in zip(every, probabilities, strict=True):
            for step, label in enumerate(labels):
                expected[step, label] += probability.detach()
        close(found[row, :length], expected)
    assert not found[torch.arange(STEPS) >= lengths[:, None]].any()


def test_decode_is_the_best_of_enumeration(ragged) -> None:
    crf, scores, _, lengths = ragged
    found = crf.decode(scores, lengths)
    for row, length in enumerate(LENGTHS[:3]):
        every, probabilities = enumerate_all(crf, scores[row, :length])
        assert tuple(found[row, :length].tolist()) == every[int(probabilities.argmax())]
    assert (found[torch.arange(STEPS) >= lengths[:, None]] == -1).all()


def test_all_lengths_equal_is_the_same_as_none() -> None:
    crf, scores, labels = make_crf(), make_scores(), torch.randint(LABELS, (4, STEPS))
    lengths = torch.full((4,), STEPS)
    close(crf.log_likelihood(scores, labels), crf.log_likelihood(scores, labels, lengths))
    close(crf.marginals(scores), crf.marginals(scores, lengths))
    assert torch.equal(crf.decode(scores), crf.decode(scores, lengths))


def test_gradients_are_those_of_finite_differences(ragged) -> None:
    crf, scores, labels, lengths = ragged
    names = [name for name, _ in crf.named_parameters()]

    def outputs(scores: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        given = dict(zip(names, parameters, strict=True))
        masked = torch.where(torch.arange(STEPS)[:, None] < lengths[:, None, None], scores, 0.0)

        class Both(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.crf = crf

            def forward(self) -> tuple[Tensor, Tensor]:
                return (
                    self.crf.log_likelihood(masked, labels, lengths),
                    self.crf.marginals(masked, lengths),
                )

        prefixed = {f"crf.{name}": value for name, value in given.items()}
        return torch.func.functional_call(Both(), prefixed, ())

    inputs = (scores.nan_to_num(0.5).requires_grad_(), *crf.parameters())
    assert torch.autograd.gradcheck(outputs, inputs)


def test_padding_reaches_no_gradient(ragged) -> None:
    crf, scores, labels, lengths = ragged
    scores.requires_grad_()
    crf.log_likelihood(scores, labels, lengths).sum().backward()
    assert scores.grad is not None and scores.grad.isfinite().all()
    dead = torch.arange(STEPS) >= lengths[:, None]
    assert not scores.grad[dead].any() and scores.grad[~dead].any()
    longer = torch.cat((scores.detach(), scores.new_full((4, 2, LABELS), torch.nan)), dim=1)
    more = torch.cat((labels, labels[:, :2]), dim=1)
    close(crf.log_likelihood(longer, more, lengths), crf.log_likelihood(scores, labels, lengths))
    assert all(value.grad is not None and value.grad.any() for value in crf.parameters())


def test_runs_on_any_device() -> None:
    crf, scores, lengths = make_crf().to("meta"), make_scores().to("meta"), torch.tensor(LENGTHS)
    labels = torch.zeros(4, STEPS, dtype=torch.int64, device="meta")
    found = [crf.log_likelihood(scores, labels, lengths), crf.marginals(scores, lengths)]
    for value in (*found, crf.decode(scores, lengths)):
        assert value.device.type == "meta"


def test_one_step_is_a_softmax() -> None:
    crf, scores = make_crf(), make_scores()[:, :1]
    labels = torch.tensor([[0], [1], [2], [1]])
    expected = (scores[:, 0] + crf.start + crf.end).log_softmax(-1)
    close(crf.log_likelihood(scores, labels), expected.gather(1, labels).squeeze(1))
    close(crf.marginals(scores)[:, 0], expected.exp())
    assert torch.equal(crf.decode(scores)[:, 0], expected.argmax(-1))


def test_begins_with_independent_steps() -> None:
    crf, scores = LinearChainCRF(LABELS).double(), make_scores()
    close(crf.marginals(scores), scores.softmax(-1))
    assert torch.equal(crf.decode(scores), scores.argmax(-1))


def test_scores_far_apart_do_not_overflow() -> None:
    crf, scores = make_crf(), make_scores() * 1e4
    labels = crf.decode(scores)
    likelihood = crf.log_likelihood(scores, labels)
    assert likelihood.isfinite().all() and (likelihood > -1).all()
    assert crf.marginals(scores).isfinite().all()


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (
            torch.zeros(2, 4, 2),
            torch.zeros(2, 4, dtype=torch.int64),
            r"scores must have the shape (B, T, 3) with at least one step, got [2, 4, 2]",
        ),
        (
            torch.zeros(2, 0, 3),
            torch.zeros(2, 0, dtype=torch.int64),
            r"scores must have the shape (B, T, 3) with at least one step, got [2, 0, 3]",
        ),
        (
            torch.zeros(2, 4, 3),
            torch.zeros(2, 5, dtype=torch.int64),
            "labels must have the shape [2, 4], as the scores' first two dimensions, got [2, 5]",
        ),
        (
            torch.zeros(2, 4, 3),
            torch.full((2, 4), 3),
            "labels must be from 0 to 2, got 3",
        ),
        (
            torch.zeros(2, 4, 3),
            torch.full((2, 4), -1),
            "labels must be from 0 to 2, got -1",
        ),
    ],
)
def test_wrong_inputs_are_named(scores: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ModelError) as error:
        LinearChainCRF(3).log_likelihood(scores, labels)
    assert str(error.value) == message


def test_wrong_number_of_labels_and_lengths_are_named() -> None:
    with pytest.raises(ModelError, match="num_labels must be a whole number of at least 1, got 0"):
        LinearChainCRF(0)
    with pytest.raises(ValueError, match="lengths must be between 0 and the number of time steps"):
        make_crf().decode(make_scores(), torch.tensor([1, 2, 3, 6]))
