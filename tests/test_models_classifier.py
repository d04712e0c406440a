"""SequenceNetwork and TextNetwork, and the embedding: values, padding, gradients, errors."""

import dataclasses
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from fastlstm.models import (
    Embedding,
    EmbeddingConfig,
    LSTMConfig,
    ModelError,
    SequenceNetwork,
    SequenceNetworkConfig,
    TextNetwork,
    TextNetworkConfig,
    VectorConfig,
)
from model_checks import (
    check_constants_follow_the_input,
    check_exports,
    check_parameters_get_gradients,
    check_rebuilt_from_config,
    close,
    lengthen,
    poison,
)

LENGTHS = torch.tensor([5, 1, 3])
TARGETS = {"kind": 3, "class.name": 2}
POOLINGS = ["last", "mean", "max", "concat", "attention"]


def sequence_network(**arguments: Any) -> SequenceNetwork:
    arguments = {"lstm": LSTMConfig(hidden_size=7, bidirectional=True)} | arguments
    vectors = arguments.pop("vectors", VectorConfig(input_size=4, projection_size=6))
    return SequenceNetwork(SequenceNetworkConfig(vectors, TARGETS, **arguments)).double()


def text_network(**arguments: Any) -> TextNetwork:
    arguments = {"lstm": LSTMConfig(hidden_size=7, bidirectional=True)} | arguments
    embedding = arguments.pop("embedding", EmbeddingConfig(vocabulary_size=11, size=6))
    return TextNetwork(TextNetworkConfig(embedding, TARGETS, **arguments)).double()


def vectors() -> Tensor:
    return torch.randn(3, 5, 4, dtype=torch.float64)


def words() -> Tensor:
    return torch.randint(11, (3, 5))


NETWORKS = {"vectors": (sequence_network, vectors), "words": (text_network, words)}


def test_is_the_encoder_the_lstm_and_a_linear_map_of_its_last_state() -> None:
    network, x = sequence_network(lstm=LSTMConfig(hidden_size=7)), vectors()
    network.encoder.standardise.set_statistics(
        torch.arange(4.0, dtype=torch.float64), torch.arange(1.0, 5.0, dtype=torch.float64)
    )
    found = network(x, LENGTHS)
    assert list(found) == list(TARGETS)
    standardised = (x - torch.arange(4.0)) / torch.arange(1.0, 5.0)
    projection = network.encoder.projection
    projected = (standardised @ projection.weight.T + projection.bias).relu()
    _, (h_n, _) = network.classifier.lstm(projected, lengths=LENGTHS)
    for number, name in enumerate(TARGETS):
        head = network.classifier.heads.linear[number]
        close(found[name], h_n[0] @ head.weight.T + head.bias)


def test_without_a_projection_the_lstm_reads_the_features() -> None:
    network, x = sequence_network(vectors=VectorConfig(4), pooling="mean"), vectors()
    output, _ = network.classifier.lstm(x)
    close(network(x)["kind"], network.classifier.heads.linear[0](output.mean(1)))


def test_text_is_the_vectors_of_its_words() -> None:
    network, ids = text_network(), words()
    output, _ = network.classifier.lstm(network.embedding.weight[ids])
    last = torch.cat((output[:, -1, :7], output[:, 0, 7:]), dim=-1)
    close(network(ids)["kind"], network.classifier.heads.linear[0](last))


def test_raw_features_of_any_dtype() -> None:
    network = sequence_network().float()
    x = torch.randint(0, 256, (3, 5, 4), dtype=torch.uint8)
    found = network(x, LENGTHS)["kind"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, network(x.double(), LENGTHS)["kind"])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_padding_reaches_nothing(kind: str, pooling: str) -> None:
    make, batch = NETWORKS[kind]
    network, x = make(pooling=pooling), batch()
    expected = network(x, LENGTHS)
    for given in (poison(x, LENGTHS), lengthen(poison(x, LENGTHS))):
        found = network(given, LENGTHS)
        for name in TARGETS:
            close(found[name], expected[name])
        for row, length in enumerate(LENGTHS):
            alone = network(x[row : row + 1, :length])
            close(alone["kind"][0], found["kind"][row])
    loss = sum(value.square().sum() for value in network(poison(x, LENGTHS), LENGTHS).values())
    check_parameters_get_gradients(network, loss)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_runs_on_any_device(kind: str, pooling: str) -> None:
    make, batch = NETWORKS[kind]
    check_constants_follow_the_input(make(pooling=pooling), (batch(), LENGTHS))


@pytest.mark.parametrize("kind", NETWORKS)
def test_rebuilt_exported_and_compiled(kind: str) -> None:
    make, batch = NETWORKS[kind]
    network, x = make(pooling="attention"), batch()
    if kind == "vectors":
        network.encoder.standardise.set_statistics(torch.ones(4), torch.full((4,), 2.0))
    check_rebuilt_from_config(network, lambda module: module(x, LENGTHS))
    check_exports(network, (x, LENGTHS), (torch.cat((x, x), dim=1)[:2], torch.tensor([9, 2])))


def test_dropout_is_before_the_lstm_and_before_the_heads() -> None:
    x = vectors()
    for place in ("input_dropout", "dropout"):
        network = sequence_network(**{place: 0.5})
        assert not torch.equal(network(x)["kind"], network(x)["kind"])
        network.eval()
        assert torch.equal(network(x)["kind"], network(x)["kind"])


def test_configuration_travels_as_json() -> None:
    config = text_network(pooling="max", dropout=0.5).config
    mapping = json.loads(json.dumps(dataclasses.asdict(config)))
    mapping["lstm"] = LSTMConfig(**mapping["lstm"])
    mapping["embedding"] = EmbeddingConfig(**mapping["embedding"])
    assert TextNetworkConfig(**mapping) == config


def test_dropped_words_are_dropped_wherever_they_stand() -> None:
    embedding = Embedding(EmbeddingConfig(50, 3, word_dropout=0.4))
    ids = torch.arange(50).repeat(2, 2)
    found = embedding(ids)
    dropped = (found == 0).all(-1)
    assert 5 < dropped[0, :50].sum() < 35
    assert torch.equal(dropped[0, :50], dropped[1, 50:])
    kept = ~dropped
    torch.testing.assert_close(found[kept], embedding.weight[ids][kept] / 0.6)
    assert not torch.equal((embedding(ids) == 0).all(-1), dropped)
    assert torch.equal(embedding.eval()(ids), embedding.weight[ids])


def test_pretrained_vectors_are_taken_over_and_missing_ones_kept() -> None:
    embedding = Embedding(EmbeddingConfig(3, 2, frozen=True))
    before = embedding.weight.clone()
    nan = float("nan")
    embedding.set_table(torch.tensor([[1.0, 2.0], [nan, nan], [3.0, 4.0]]))
    assert embedding.weight[[0, 2]].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert torch.equal(embedding.weight[1], before[1])
    assert not embedding.weight.requires_grad
    with pytest.raises(ModelError) as error:
        embedding.set_table(torch.zeros(3, 4))
    expected = "table must have the shape [3, 2], (vocabulary_size, size), got [3, 4]"
    assert str(error.value) == expected


def test_vectors_begin_with_a_length_of_one() -> None:
    lengths = Embedding(EmbeddingConfig(50, 400)).weight.norm(dim=1)
    assert lengths.min() > 0.8 and lengths.max() < 1.2


def test_frozen_vectors_get_no_gradient() -> None:
    network = text_network(embedding=EmbeddingConfig(11, 6, frozen=True))
    loss = sum(value.square().sum() for value in network(words()).values())
    check_parameters_get_gradients(network, loss, without=("embedding.weight",))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VectorConfig(0), "input_size must be a whole number of at least 1, got 0"),
        (
            lambda: VectorConfig(1, 0),
            "projection_size must be a whole number of at least 1, got 0",
        ),
        (
            lambda: EmbeddingConfig(3, word_dropout=1.0),
            "word_dropout must be a rate from 0 up to below 1, got 1.0",
        ),
        (
            lambda: EmbeddingConfig(True),
            "vocabulary_size must be a whole number of at least 1, got True",
        ),
        (
            lambda: SequenceNetworkConfig(VectorConfig(1), {}),
            "targets must name at least one target and its number of classes, got {}",
        ),
        (
            lambda: SequenceNetworkConfig(VectorConfig(1), {"kind": 0}),
            "targets['kind'] must be a whole number of at least 1, got 0",
        ),
        (
            lambda: SequenceNetworkConfig(VectorConfig(1), {"kind": 2}, dropout=-0.1),
            "dropout must be a rate from 0 up to below 1, got -0.1",
        ),
        (
            lambda: TextNetworkConfig(EmbeddingConfig(1), {"kind": 2}, input_dropout=2),
            "input_dropout must be a rate from 0 up to below 1, got 2",
        ),
        (
            lambda: sequence_network(pooling="sum"),
            "pooling must be one of last, mean, max, concat, attention, got 'sum'",
        ),
        (
            lambda: sequence_network()(torch.zeros(2, 4)),
            "expected vectors (B, T, 4), got the shape [2, 4]",
        ),
        (
            lambda: sequence_network()(torch.zeros(2, 3, 5)),
            "expected vectors (B, T, 4), got the shape [2, 3, 5]",
        ),
        (
            lambda: text_network()(torch.zeros(2, 3, 5, dtype=torch.int64)),
            "expected ids (B, T), got the shape [2, 3, 5]",
        ),
        (
            lambda: text_network()(torch.tensor([[1, 11]])),
            "ids must be from 0 to 10, got 11",
        ),
        (
            lambda: text_network()(torch.tensor([[1, -1]])),
            "ids must be from 0 to 10, got -1",
        ),
        (
            lambda: text_network()(torch.zeros(2, 3)),
            "ids must be of an integer dtype, got torch.float32",
        ),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ModelError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize("kind", NETWORKS)
def test_wrong_lengths_are_named(kind: str) -> None:
    make, batch = NETWORKS[kind]
    with pytest.raises(ValueError, match="lengths must have one value for each of the 3 rows"):
        make()(batch(), torch.tensor([1, 2]))
