"""Tagger and its encoders: values, padding, gradients, errors."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fastlstm.models import (
    CharacterConfig,
    CharacterEncoder,
    EmbeddingConfig,
    ImageConfig,
    ImageEncoder,
    LSTMConfig,
    ModelError,
    Tagger,
    TaggerConfig,
    VectorConfig,
    WordConfig,
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
LIVE = torch.arange(5) < LENGTHS[:, None]
TARGETS = {"upos": 4, "Number": 3}
CHARACTERS = CharacterConfig(vocabulary_size=9, embedding_size=4, output_size=6)
CNN = CharacterConfig(vocabulary_size=9, embedding_size=4, output_size=5, encoder="cnn")
KINDS: dict[str, dict[str, Any]] = {
    "words": {"words": WordConfig(EmbeddingConfig(11, 6))},
    "characters": {"words": WordConfig(EmbeddingConfig(11, 6), CHARACTERS)},
    "cnn": {"words": WordConfig(EmbeddingConfig(11, 6), CNN)},
    "vectors": {"vectors": VectorConfig(4, 6)},
    "images": {"images": ImageConfig(2, 9, 7, filters=3, output_size=6)},
}


def tagger(kind: str = "words", **arguments: Any) -> Tagger:
    lstm = LSTMConfig(hidden_size=7, bidirectional=True)
    network = Tagger(TaggerConfig(TARGETS, lstm=lstm, **KINDS[kind], **arguments)).double()
    for crf in network.crfs:
        for parameter in crf.parameters():
            torch.nn.init.normal_(parameter)
    return network


def character_ids() -> Tensor:
    """Words of 1 to 4 characters of 6."""
    ids = torch.randint(1, 9, (3, 5, 6))
    return torch.where(torch.arange(6) < torch.randint(1, 5, (3, 5, 1)), ids, 0)


def inputs(kind: str) -> list[Tensor]:
    if kind == "vectors":
        return [torch.randn(3, 5, 4, dtype=torch.float64)]
    if kind == "images":
        return [torch.randn(3, 5, 2, 9, 7, dtype=torch.float64)]
    ids = torch.randint(11, (3, 5))
    return [ids] if kind == "words" else [ids, character_ids()]


def run(network: Tagger, given: list[Tensor], lengths: Tensor | None) -> dict[str, Tensor]:
    return network(given[0], lengths, *given[1:])


def test_scores_each_step_by_a_linear_map_of_its_output() -> None:
    network, (ids,) = tagger(), inputs("words")
    found = network(ids)
    output, _ = network.lstm(network.encoder.embedding.weight[ids])
    assert list(found) == list(TARGETS)
    for number, name in enumerate(TARGETS):
        head = network.heads.linear[number]
        close(found[name], output @ head.weight.T + head.bias)


def test_characters_stand_beside_the_words_vector() -> None:
    network, (ids, characters) = tagger("characters"), inputs("characters")
    vectors = network.encoder(ids, None, characters)
    assert torch.equal(vectors[..., :6], network.encoder.embedding.weight[ids])
    close(vectors[..., 6:], network.encoder.characters(characters))


@pytest.mark.parametrize("config", [CHARACTERS, CNN])
def test_a_words_vector_is_that_of_its_characters_alone(config: CharacterConfig) -> None:
    encoder, ids = CharacterEncoder(config).double(), character_ids()
    ids[0, 0] = 0
    found = encoder(ids)
    assert found.shape == (3, 5, config.output_size) and not found[0, 0].any()
    for row, step in ((0, 1), (2, 4)):
        word = ids[row, step][ids[row, step] != 0]
        vectors = encoder.embedding.weight[word]
        if config.encoder == "lstm":
            output, _ = encoder.lstm(vectors[None])
            expected = torch.cat((output[0, -1, :3], output[0, 0, 3:]))
        else:
            weight, bias = encoder.convolution.weight, encoder.convolution.bias
            around = torch.nn.functional.pad(vectors, (0, 0, 1, 1))
            windows = around.unfold(0, 3, 1)
            expected = (torch.einsum("cek,oek->co", windows, weight) + bias).amax(0)
        close(found[row, step], expected)


def test_vectors_of_characters_begin_longer_than_those_of_words() -> None:
    encoder = CharacterEncoder(CharacterConfig(500, embedding_size=40))
    assert encoder.embedding.weight.std().item() == pytest.approx(1.0, abs=0.05)


def test_an_image_is_encoded_on_its_own_and_standardised_by_channel() -> None:
    encoder = ImageEncoder(ImageConfig(2, 9, 7, filters=3, output_size=6)).double()
    (images,) = inputs("images")
    found = encoder(images)
    assert found.shape == (3, 5, 6)
    close(encoder(images[1:2, 3:4])[0, 0], found[1, 3])
    mean, std = torch.tensor([1.0, -2.0]).double(), torch.tensor([2.0, 3.0]).double()
    encoder.standardise.set_statistics(mean, std)
    close(encoder(images * std[:, None, None] + mean[:, None, None]), found)
    assert not torch.equal(encoder(images.flip(-1)), encoder(images))
    raw = torch.randint(0, 256, images.shape, dtype=torch.uint8)
    close(encoder(raw, LIVE), encoder(raw.double(), LIVE))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_reaches_nothing(kind: str) -> None:
    network, given = tagger(kind, crf=("Number",)), inputs(kind)
    labels = {name: torch.randint(count, (3, 5)) for name, count in TARGETS.items()}
    expected = run(network, given, LENGTHS)
    poisoned = [poison(x, LENGTHS) for x in given]
    for inputs_ in (poisoned, [lengthen(x) for x in poisoned]):
        found = run(network, inputs_, LENGTHS)
        for name in TARGETS:
            close(found[name][:, :5][LIVE], expected[name][LIVE])
    for row, length in enumerate(LENGTHS):
        alone = run(network, [x[row : row + 1, :length] for x in given], None)
        close(alone["upos"][0], expected["upos"][row, :length])
    scores = run(network, poisoned, LENGTHS)
    loss = -sum(v.sum() for v in network.log_likelihood(scores, labels, LENGTHS).values())
    check_parameters_get_gradients(network, loss)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_on_any_device(kind: str) -> None:
    given = inputs(kind)
    check_constants_follow_the_input(tagger(kind), (given[0], LENGTHS, *given[1:]))


@pytest.mark.parametrize("kind", KINDS)
def test_rebuilt_from_its_configuration(kind: str) -> None:
    network, given = tagger(kind, crf=("upos",)), inputs(kind)
    if kind in ("vectors", "images"):
        size = len(network.encoder.standardise.mean)
        network.encoder.standardise.set_statistics(torch.ones(size), torch.full((size,), 2.0))
    check_rebuilt_from_config(network, lambda module: run(module, given, LENGTHS))


@pytest.mark.parametrize("kind", ["characters", "cnn", "images"])
def test_exported_and_compiled(kind: str) -> None:
    network, given = tagger(kind, crf=("upos",)), inputs(kind)
    longer = [torch.cat((x, x), dim=1)[:2] for x in given]
    others = (longer[0], torch.tensor([9, 2]), *longer[1:])
    check_exports(network, (given[0], LENGTHS, *given[1:]), others)


@pytest.mark.parametrize("lengths", [LENGTHS, None])
def test_long_recordings_of_images_are_encoded_in_parts(
    lengths: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tagger("images").eval()
    given = inputs("images")
    whole = run(network, given, lengths)
    monkeypatch.setattr("fastlstm.models.tagger._IMAGES_AT_ONCE", 7)
    seen: list[int] = []
    network.encoder.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
    with torch.no_grad():
        for name, values in run(network, given, lengths).items():
            close(values, whole[name])
    run(network, given, lengths)
    assert seen == [2, 2, 1, 5]  # two steps of three rows; all, where gradients are wanted


def test_stretches_go_on_where_the_one_before_ended() -> None:
    config = TaggerConfig(TARGETS, lstm=LSTMConfig(hidden_size=7), **KINDS["vectors"])
    network = Tagger(config).double()
    (x,) = inputs("vectors")
    first, state = network.advance(x[:, :3], LENGTHS.clamp(max=3))
    second, _ = network.advance(x[:, 3:], (LENGTHS - 3).clamp(min=0), state=state)
    for name, whole in network(x, LENGTHS).items():
        joined = torch.cat((first[name], second[name]), dim=1)
        close(joined[LIVE], whole[LIVE])
    with pytest.raises(ModelError, match="a bidirectional network reads sequences as a whole"):
        tagger("vectors").advance(x, LENGTHS, state=state)


def test_labels_are_decoded_and_likely_with_a_crf_and_without() -> None:
    network, (ids,) = tagger(crf=("Number",)), inputs("words")
    scores = network(ids, LENGTHS)
    nan = {name: poison(value.detach(), LENGTHS) for name, value in scores.items()}
    crf = network.crf_of("Number")
    assert crf is network.crfs[0] and network.crf_of("upos") is None
    labels = {name: torch.randint(count, (3, 5)) for name, count in TARGETS.items()}
    likely = network.log_likelihood(nan, labels, LENGTHS)
    close(likely["Number"], crf.log_likelihood(scores["Number"], labels["Number"], LENGTHS))
    each = scores["upos"].log_softmax(-1).gather(2, labels["upos"][..., None]).squeeze(-1)
    close(likely["upos"], torch.where(LIVE, each, 0.0).sum(1))
    for value in nan.values():
        value.requires_grad_()
    sum(value.sum() for value in network.log_likelihood(nan, labels, LENGTHS).values()).backward()
    for value in nan.values():
        assert value.grad is not None and not value.grad[~LIVE].any() and value.grad[LIVE].any()
    decoded = network.decode(nan, LENGTHS)
    assert torch.equal(decoded["Number"], crf.decode(scores["Number"], LENGTHS))
    assert torch.equal(decoded["upos"], torch.where(LIVE, scores["upos"].argmax(-1), -1))
    probable = network.probabilities(nan, LENGTHS)
    close(probable["Number"], crf.marginals(scores["Number"], LENGTHS))
    close(probable["upos"], torch.where(LIVE[..., None], scores["upos"].softmax(-1), 0.0))


def test_a_step_without_a_label_is_left_out() -> None:
    network, (ids,) = tagger(), inputs("words")
    scores, labels = network(ids), torch.randint(4, (3, 5))
    labels[:, 2] = -1
    each = scores["upos"].log_softmax(-1).gather(2, labels[..., None].clamp(min=0)).squeeze(-1)
    found = network.log_likelihood(scores, {"upos": labels})
    assert list(found) == ["upos"]
    close(found["upos"], each.sum(1) - each[:, 2])


def test_dropout_is_before_the_lstm_and_before_the_heads() -> None:
    (ids,) = inputs("words")
    for place in ("input_dropout", "dropout"):
        network = tagger(**{place: 0.5})
        assert not torch.equal(network(ids)["upos"], network(ids)["upos"])
        network.eval()
        assert torch.equal(network(ids)["upos"], network(ids)["upos"])


WORD_IDS = torch.zeros(2, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TaggerConfig(TARGETS),
            "a tagger reads one of words, vectors and images, got none of them",
        ),
        (
            lambda: TaggerConfig(TARGETS, **KINDS["words"], **KINDS["images"]),
            "a tagger reads one of words, vectors and images, got words and images",
        ),
        (
            lambda: tagger(crf=("xpos",)),
            "crf names 'xpos', but the targets are upos, Number",
        ),
        (
            lambda: tagger(dropout=1),
            "dropout must be a rate from 0 up to below 1, got 1",
        ),
        (
            lambda: CharacterConfig(9, output_size=7),
            "output_size must be even, half for each direction, got 7",
        ),
        (
            lambda: CharacterConfig(9, encoder="gru"),  # type: ignore[arg-type]
            "encoder must be one of lstm, cnn, got 'gru'",
        ),
        (
            lambda: ImageConfig(3, 3, 8),
            "height must be a whole number of at least 4, got 3",
        ),
        (
            lambda: tagger("images")(torch.zeros(2, 3, 2, 7, 9)),
            "expected images (B, T, 2, 9, 7), got the shape [2, 3, 2, 7, 9]",
        ),
        (
            lambda: tagger("characters")(WORD_IDS),
            "this network reads characters beside the words, but got none",
        ),
        (
            lambda: tagger("words")(WORD_IDS, characters=character_ids()),
            "this network reads words alone, but got characters",
        ),
        (
            lambda: tagger("vectors")(torch.zeros(2, 3, 4), characters=character_ids()),
            "characters go with words, and this network reads none",
        ),
        (
            lambda: tagger("characters")(WORD_IDS, characters=character_ids()),
            "characters must have the shape (B, T, C) with the words' B and T, [2, 3], "
            "got [3, 5, 6]",
        ),
        (
            lambda: tagger("characters")(WORD_IDS + 11, characters=character_ids()[:2, :3]),
            "words must be from 0 to 10, got 11",
        ),
        (
            lambda: tagger("cnn")(WORD_IDS, characters=character_ids()[:2, :3] * 0 + 9),
            "characters must be from 0 to 8, got 9",
        ),
        (
            lambda: tagger().log_likelihood(tagger()(WORD_IDS), {"xpos": WORD_IDS}),
            "no target 'xpos': the targets are upos, Number",
        ),
        (
            lambda: tagger().log_likelihood(tagger()(WORD_IDS), {"upos": WORD_IDS[:1]}),
            "labels must have the shape [2, 3], as the scores' first two dimensions, got [1, 3]",
        ),
        (
            lambda: tagger().log_likelihood(tagger()(WORD_IDS), {"upos": WORD_IDS + 4}),
            "labels must be from 0 to 3, or -1 for none, got 4",
        ),
        (
            lambda: tagger().log_likelihood(tagger()(WORD_IDS), {"upos": WORD_IDS - 2}),
            "labels must be from 0 to 3, or -1 for none, got -2",
        ),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ModelError) as error:
        make()
    assert str(error.value) == message
