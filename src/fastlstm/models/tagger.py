"""One answer for each step of a sequence: of words, of vectors, of images."""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.models.constants import is_checked_here
from fastlstm.models.crf import NO_LABEL, LinearChainCRF
from fastlstm.models.encoders import (
    ImageConfig,
    ImageEncoder,
    VectorConfig,
    VectorEncoder,
    WordConfig,
    WordEncoder,
)
from fastlstm.models.errors import ModelError, check_rate, check_targets
from fastlstm.models.heads import Heads
from fastlstm.models.lstm_config import LSTMConfig
from fastlstm.models.padding import fill_padding, live_steps

_IMAGES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class TaggerConfig:
    """What a ``Tagger`` is made of: one of ``words``, ``vectors`` and ``images``, and the rest.

    Args:
        targets: each target's name and number of labels.
        words: steps that are words.
        vectors: steps that are vectors.
        images: steps that are images.
        lstm: the layers.
        input_dropout: the rate of dropout before the LSTM.
        dropout: the rate of dropout before the heads.
        crf: the names of the targets whose labels are scored together.

    Raises:
        ModelError: an argument is out of its range, or there is not exactly one kind of step.
    """

    targets: dict[str, int]
    words: WordConfig | None = None
    vectors: VectorConfig | None = None
    images: ImageConfig | None = None
    lstm: LSTMConfig = dataclasses.field(default_factory=lambda: LSTMConfig(bidirectional=True))
    input_dropout: float = 0.0
    dropout: float = 0.0
    crf: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_targets(self.targets)
        check_rate("input_dropout", self.input_dropout)
        check_rate("dropout", self.dropout)
        kinds = {"words": self.words, "vectors": self.vectors, "images": self.images}
        given = [name for name, value in kinds.items() if value is not None]
        if len(given) != 1:
            raise ModelError(
                "a tagger reads one of words, vectors and images, "
                f"got {' and '.join(given) or 'none of them'}"
            )
        object.__setattr__(self, "crf", tuple(self.crf))
        for name in self.crf:
            if name not in self.targets:
                raise ModelError(
                    f"crf names {name!r}, but the targets are {', '.join(self.targets)}"
                )


class Tagger(nn.Module):
    """Label each step of a sequence, for one target or several at once.

    ``B`` is the batch, ``T`` the number of steps, ``K`` a target's number of labels. ``lengths`` is
    (B) integers in 0..T, how many steps of each row are real, None where all are; what stands past
    them, NaN included, reaches no result and no gradient.

    Args:
        config: what it is made of; ``Tagger(network.config)`` is the same network again.
    """

    encoder: WordEncoder | VectorEncoder | ImageEncoder

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _make_encoder(config)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.lstm = config.lstm.build(self.encoder.output_size)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = Heads(config.lstm.output_size, config.targets)
        self.crfs = nn.ModuleList(LinearChainCRF(config.targets[name]) for name in config.crf)

    def crf_of(self, target: str) -> LinearChainCRF | None:
        """The CRF of a target, or None if its steps are labelled one by one."""
        if target not in self.config.crf:
            return None
        crf = self.crfs[self.config.crf.index(target)]
        assert isinstance(crf, LinearChainCRF)
        return crf

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, characters: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Score each label of each target at each step.

        Args:
            x: word ids (B, T), vectors (B, T, F) or images (B, T, C, height, width).
            lengths: (B).
            characters: (B, T, C) the ids of each word's characters, 0 past a word's end; where the
                network reads them.

        Returns:
            Scores (B, T, K) of each target: logits, and where it has a CRF the steps' own part.
            Past a row's end they mean nothing.

        Raises:
            ModelError: an input of a wrong shape, or ids that are not of the vocabulary.
            ValueError, TypeError: the lengths do not fit.
        """
        return self.advance(x, lengths, characters)[0]

    def advance(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        characters: Tensor | None = None,
        state: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """Score a stretch of longer sequences, whose beginning went before.

        Args:
            x: as in ``forward``.
            lengths: as in ``forward``; 0 for a row that has ended, which keeps its state.
            characters: as in ``forward``.
            state: what came out for the stretch before; None: this is the first.

        Returns:
            The scores, as from ``forward``, and the state.

        Raises:
            ModelError: as in ``forward``, or a state where the network also reads backwards, from
                the end that has not come yet.
            ValueError, TypeError: the lengths or the state do not fit.
        """
        if state is not None and self.config.lstm.bidirectional:
            raise ModelError(
                "a bidirectional network reads sequences as a whole: expected no state of a "
                "stretch before"
            )
        steps = self._encode(x, live_steps(x, lengths), characters)
        output, after = self.lstm(self.input_dropout(steps), state, lengths=lengths)
        return self.heads(self.dropout(output)), after

    def _encode(self, x: Tensor, live: Tensor | None, characters: Tensor | None) -> Tensor:
        """The steps as vectors (B, T, …)."""
        if isinstance(self.encoder, WordEncoder):
            return self.encoder(x, live, characters)
        if characters is not None:
            raise ModelError("characters go with words, and this network reads none")
        at_once = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if isinstance(self.encoder, VectorEncoder) or at_once:
            return self.encoder(x, live)
        # Nothing is kept for a backward pass: a long recording needs the memory of some images.
        size = max(1, _IMAGES_AT_ONCE // len(x))
        lives = [None] * len(x.split(size, 1)) if live is None else live.split(size, 1)
        parts = zip(x.split(size, 1), lives, strict=True)
        return torch.cat([self.encoder(*part) for part in parts], dim=1)

    def log_likelihood(
        self, scores: dict[str, Tensor], labels: dict[str, Tensor], lengths: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The logarithm of the probability of each row's labels, for each target in ``labels``.

        Args:
            scores: as ``forward`` returns them.
            labels: (B, T) integers in 0..K-1 for each target; without a CRF a step whose label is
                -1 (``NO_LABEL``) is left out.
            lengths: (B).

        Returns:
            (B) for each target, the sum over its steps.

        Raises:
            ModelError: a target that the network does not have, or labels that do not fit.
        """
        found = {}
        for name, of_target in labels.items():
            if name not in scores:
                raise ModelError(f"no target {name!r}: the targets are {', '.join(scores)}")
            crf = self.crf_of(name)
            found[name] = (
                _log_softmax_of(scores[name], of_target, lengths)
                if crf is None
                else crf.log_likelihood(scores[name], of_target, lengths)
            )
        return found

    def decode(self, scores: dict[str, Tensor], lengths: Tensor | None = None) -> dict[str, Tensor]:
        """The most probable labels of each row.

        Args:
            scores: as ``forward`` returns them.
            lengths: (B).

        Returns:
            (B, T) int64 for each target; ``NO_LABEL`` past a row's end.
        """
        found = {}
        for name, value in scores.items():
            crf = self.crf_of(name)
            found[name] = (
                fill_padding(value.argmax(-1), live_steps(value, lengths), NO_LABEL)
                if crf is None
                else crf.decode(value, lengths)
            )
        return found

    def probabilities(
        self, scores: dict[str, Tensor], lengths: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The probability of each label at each step; with a CRF, given all steps.

        Args:
            scores: as ``forward`` returns them.
            lengths: (B).

        Returns:
            (B, T, K) for each target; zeros past a row's end.
        """
        found = {}
        for name, value in scores.items():
            crf = self.crf_of(name)
            found[name] = (
                fill_padding(value.softmax(-1), live_steps(value, lengths))
                if crf is None
                else crf.marginals(value, lengths)
            )
        return found


def _make_encoder(config: TaggerConfig) -> WordEncoder | VectorEncoder | ImageEncoder:
    if config.words is not None:
        return WordEncoder(config.words)
    if config.vectors is not None:
        return VectorEncoder(config.vectors)
    assert config.images is not None
    return ImageEncoder(config.images)


def _log_softmax_of(scores: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
    """Σ_t log softmax(scores)[label] over the steps that have a label: (B)."""
    if labels.shape != scores.shape[:2]:
        raise ModelError(
            f"labels must have the shape {list(scores.shape[:2])}, as the scores' first two "
            f"dimensions, got {list(labels.shape)}"
        )
    live = live_steps(scores, lengths)
    labels = fill_padding(labels, live, NO_LABEL)
    if is_checked_here(labels) and bool(((labels < NO_LABEL) | (labels >= scores.shape[2])).any()):
        wrong = labels[(labels < NO_LABEL) | (labels >= scores.shape[2])][0]
        raise ModelError(
            f"labels must be from 0 to {scores.shape[2] - 1}, or -1 for none, got {int(wrong)}"
        )
    losses = F.cross_entropy(
        fill_padding(scores, live).flatten(0, 1),
        labels.flatten().to(torch.int64),
        ignore_index=NO_LABEL,
        reduction="none",
    )
    return -losses.unflatten(0, labels.shape).sum(1)
