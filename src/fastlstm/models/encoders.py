"""What a step of a sequence is, as a vector: words with their characters, frames, images.

Each encoder takes a batch and where it is live, and gives (B, T, ``output_size``). Each step is
encoded on its own; padding reaches no result and no gradient.
"""

import dataclasses
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.models.embedding import Embedding, EmbeddingConfig
from fastlstm.models.errors import ModelError, check_choice, check_count
from fastlstm.models.lstm_config import LSTMConfig
from fastlstm.models.padding import fill_padding
from fastlstm.models.pooling import MaxPooling
from fastlstm.models.standardise import Standardise

CharacterEncoding = Literal["lstm", "cnn"]


@dataclasses.dataclass(frozen=True)
class CharacterConfig:
    """A vector for each word from its characters.

    Args:
        vocabulary_size: the number of characters, with 0, which stands past a word's end.
        embedding_size: the width of a character's vector.
        output_size: the width of a word's vector; even for "lstm".
        encoder: "lstm", the last outputs of both directions of an LSTM (Lample et al. 2016), or
            "cnn", the greatest of each of ``output_size`` filters over three characters (Ma & Hovy
            2016).

    Raises:
        ModelError: an argument is out of its range.
    """

    vocabulary_size: int
    embedding_size: int = 32
    output_size: int = 64
    encoder: CharacterEncoding = "lstm"

    def __post_init__(self) -> None:
        check_count("vocabulary_size", self.vocabulary_size)
        check_count("embedding_size", self.embedding_size)
        check_count("output_size", self.output_size)
        check_choice("encoder", self.encoder, get_args(CharacterEncoding))
        if self.encoder == "lstm" and self.output_size % 2:
            raise ModelError(
                f"output_size must be even, half for each direction, got {self.output_size}"
            )


class CharacterEncoder(nn.Module):
    """A vector for each word from its characters.

    Args:
        config: the encoder's.
    """

    def __init__(self, config: CharacterConfig) -> None:
        super().__init__()
        self.config = config
        self.output_size = config.output_size
        size = config.embedding_size
        self.embedding = Embedding(EmbeddingConfig(config.vocabulary_size, size), "characters")
        # Characters are few and each is seen often: longer vectors learn faster, and none is rare.
        nn.init.normal_(self.embedding.weight)
        if config.encoder == "lstm":
            lstm = LSTMConfig(hidden_size=config.output_size // 2, bidirectional=True)
            self.lstm = lstm.build(size)
        else:
            self.convolution = nn.Conv1d(size, config.output_size, kernel_size=3, padding=1)
            self.pooling = MaxPooling()

    def forward(self, characters: Tensor, live: Tensor | None = None) -> Tensor:
        """Vectors (B, T, ``output_size``).

        Args:
            characters: (B, T, C) ids, 0 past a word's end.
            live: (B, T) bool, the words that are real.

        Returns:
            A vector for each word; zeros for one without characters.
        """
        rows, steps, _ = characters.shape
        words = fill_padding(characters, live).flatten(0, 1)
        lengths = (words != 0).sum(1)
        vectors = fill_padding(self.embedding(words), words != 0)
        if self.config.encoder == "lstm":
            _, (h_n, _) = self.lstm(vectors, lengths=lengths)
            pooled = torch.cat((h_n[0], h_n[1]), dim=-1)
        else:
            pooled = self.pooling(self.convolution(vectors.mT).mT, lengths)
        return pooled.reshape(rows, steps, self.output_size)


@dataclasses.dataclass(frozen=True)
class WordConfig:
    """Steps that are words.

    Args:
        embedding: the table of the words' vectors.
        characters: how a word's characters are read beside it; None: not at all.
    """

    embedding: EmbeddingConfig
    characters: CharacterConfig | None = None


class WordEncoder(nn.Module):
    """A word's own vector, and one from its characters beside it.

    Args:
        config: the encoder's.
    """

    def __init__(self, config: WordConfig) -> None:
        super().__init__()
        self.embedding = Embedding(config.embedding, "words")
        self.characters = CharacterEncoder(config.characters) if config.characters else None
        of_characters = config.characters.output_size if config.characters else 0
        self.output_size = config.embedding.size + of_characters

    def forward(
        self, words: Tensor, live: Tensor | None = None, characters: Tensor | None = None
    ) -> Tensor:
        """(B, T, ``output_size``) from word ids (B, T) and character ids (B, T, C).

        Raises:
            ModelError: ids that are not of the vocabulary; characters that are missing, or that
                the network does not read, or that belong to another number of words.
        """
        if (characters is None) != (self.characters is None):
            raise ModelError(
                "this network reads words alone, but got characters"
                if self.characters is None
                else "this network reads characters beside the words, but got none"
            )
        vectors = self.embedding(words, live)
        if self.characters is None or characters is None:
            return vectors
        if characters.dim() != 3 or characters.shape[:2] != words.shape:
            raise ModelError(
                f"characters must have the shape (B, T, C) with the words' B and T, "
                f"{list(words.shape)}, got {list(characters.shape)}"
            )
        return torch.cat((vectors, self.characters(characters, live)), dim=-1)


@dataclasses.dataclass(frozen=True)
class VectorConfig:
    """Steps that are vectors of features.

    Args:
        input_size: ``F``, the number of features.
        projection_size: the width that they are mapped to, linearly and through a ReLU, before
            the LSTM; None: they are not.

    Raises:
        ModelError: an argument is out of its range.
    """

    input_size: int
    projection_size: int | None = None

    def __post_init__(self) -> None:
        check_count("input_size", self.input_size)
        if self.projection_size is not None:
            check_count("projection_size", self.projection_size)


class VectorEncoder(nn.Module):
    """Standardised features, and their projection if there is one.

    Args:
        config: the encoder's.
    """

    def __init__(self, config: VectorConfig) -> None:
        super().__init__()
        self.output_size = config.projection_size or config.input_size
        self.standardise = Standardise(config.input_size)
        self.projection = (
            nn.Linear(config.input_size, config.projection_size) if config.projection_size else None
        )

    def forward(self, x: Tensor, live: Tensor | None = None) -> Tensor:
        """(B, T, ``output_size``) from raw features (B, T, F) of any dtype.

        Raises:
            ModelError: another number of dimensions or features.
        """
        size = len(self.standardise.mean)
        if x.dim() != 3 or x.shape[2] != size:
            raise ModelError(f"expected vectors (B, T, {size}), got the shape {list(x.shape)}")
        x = self.standardise(fill_padding(x, live))
        return x if self.projection is None else F.relu(self.projection(x))


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """Steps that are images.

    Args:
        channels: ``C``.
        height: in pixels, at least 4.
        width: in pixels, at least 4.
        filters: of the first convolution; the second has twice as many.
        output_size: the width of an image's vector.

    Raises:
        ModelError: an argument is out of its range.
    """

    channels: int
    height: int
    width: int
    filters: int = 16
    output_size: int = 128

    def __post_init__(self) -> None:
        for name in ("channels", "filters", "output_size"):
            check_count(name, getattr(self, name))
        check_count("height", self.height, least=4)
        check_count("width", self.width, least=4)


class ImageEncoder(nn.Module):
    """A small convolutional network: two times convolution, ReLU and halving, then a linear map.

    It has no batch normalisation: padding and the other images of a batch would reach through it.

    Args:
        config: the encoder's.
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.config = config
        self.output_size = config.output_size
        self.standardise = Standardise(config.channels)
        filters = config.filters
        self.first = nn.Conv2d(config.channels, filters, kernel_size=3, padding=1)
        self.second = nn.Conv2d(filters, 2 * filters, kernel_size=3, padding=1)
        pixels = (config.height // 4) * (config.width // 4)
        self.linear = nn.Linear(2 * filters * pixels, config.output_size)

    def forward(self, images: Tensor, live: Tensor | None = None) -> Tensor:
        """(B, T, ``output_size``) from raw pixels (B, T, C, height, width) of any dtype.

        Raises:
            ModelError: images of another shape.
        """
        size = (self.config.channels, self.config.height, self.config.width)
        if images.dim() != 5 or tuple(images.shape[2:]) != size:
            raise ModelError(
                f"expected images (B, T, {', '.join(map(str, size))}), "
                f"got the shape {list(images.shape)}"
            )
        x = fill_padding(images, live).flatten(0, 1)
        x = self.standardise(x.movedim(1, -1)).movedim(-1, 1)
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        return F.relu(self.linear(x.flatten(1))).unflatten(0, images.shape[:2])
