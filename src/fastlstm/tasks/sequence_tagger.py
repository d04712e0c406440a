"""Name each step of a sequence: the words of a sentence, the frames of a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import nn

from fastlstm.config import from_mapping
from fastlstm.models import (
    CharacterConfig,
    EmbeddingConfig,
    ImageConfig,
    LSTMConfig,
    Tagger,
    TaggerConfig,
    VectorConfig,
    WordConfig,
)
from fastlstm.tasks.errors import TaskError
from fastlstm.tasks.estimator import Estimator
from fastlstm.tasks.pretrained import first_table, read_pretrained
from fastlstm.tasks.tagging import TaggedExamples, TaggingObjective
from fastlstm.tasks.tagging_figures import Baseline, figures
from fastlstm.tasks.tagging_labels import StepTargets
from fastlstm.tasks.tagging_prediction import Read, answers
from fastlstm.tasks.tagging_reader import (
    SequenceReader,
    Sequences,
    lengths_of,
    read_sequences,
    sentences_of,
)
from fastlstm.tasks.tagging_spans import marks_spans
from fastlstm.tasks.tagging_steps import Frames, Piece, Steps, hold_out, pieces_of, take
from fastlstm.tasks.targets import ClassWeight, Targets
from fastlstm.training import Event, TrainingConfig


class SequenceTagger(Estimator):
    """Label each step of sequences with an LSTM, for one target or several at once.

    An estimator as scikit-learn has them: `fit`, `predict`, `predict_proba`, `score`, `clone`, grid
    searches. Examples are lists of tokens, whose words and characters are read; or frames: a list
    of arrays `(T_i, F)` of vectors, or `(T_i, H, W)` or `(T_i, C, H, W)` of images. A label that
    training never saw is a mistake wherever it is met.

    Args:
        lstm: the layers; None: `SequenceTagger.default_lstm`.
        training: how it is trained; None: `SequenceTagger.default_training`.
        min_count: a word or character that is rarer in the training sequences is an unknown one.
        lowercase: whether words are known without their case; characters keep it.
        embedding_size: the width of a word's vector; with `vectors`, theirs.
        characters: how a word's characters are read beside it: "lstm", "cnn", or None for not.
        character_size: the width of the vector that is made of them; even for "lstm".
        vectors: a file of pretrained vectors of words in the usual text format; None: none.
        frozen: whether pretrained vectors stay as they are; words without one then have zeros.
        word_dropout: the rate at which words are dropped in training, wherever they stand.
        projection: the width that vectors are mapped to before the LSTM; None: as they are.
        frame_size: the width of an image's vector.
        input_dropout: the rate of dropout before the LSTM.
        dropout: the rate of dropout after it.
        crf: whether the labels of a sequence are scored together, with those beside them (Lample et
            al. 2016).
        chunk_steps: longer sequences are cut for training, into pieces of at most so many steps;
            None: never. Where `training` has `truncate_steps`, which carries the state on and takes
            an LSTM of one direction, none is cut.
        class_weight: what each class counts in the loss: "balanced", a mapping, or None for all the
            same; with several targets, a mapping by target. Not with `crf`.
        target_weights: what each of several targets' losses counts; None: all the same.
        validation: the share of the sequences, or of their groups, held out of training to choose
            the best epoch by, where `fit` is given no others; of fewer than 20 sequences, which
            are often long, of the pieces that they are cut into. 0: none, and the last epoch is
            kept.

    Attributes:
        classes_: the labels in sorted order: an array, or one for each target.
        network_: the trained `fastlstm.models.Tagger`.
        history_: the `fastlstm.training.History`.
    """

    default_lstm: ClassVar = LSTMConfig(hidden_size=128, bidirectional=True)
    default_training: ClassVar = TrainingConfig(epochs=None)

    def __init__(
        self,
        lstm: LSTMConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        min_count: int = 2,
        lowercase: bool = True,
        embedding_size: int = 128,
        characters: Literal["lstm", "cnn"] | None = "lstm",
        character_size: int = 64,
        vectors: str | None = None,
        frozen: bool = False,
        word_dropout: float = 0.1,
        projection: int | None = None,
        frame_size: int = 128,
        input_dropout: float = 0.3,
        dropout: float = 0.5,
        crf: bool = False,
        chunk_steps: int | None = 128,
        class_weight: ClassWeight = None,
        target_weights: Mapping[str, float] | None = None,
        validation: float = 0.1,
    ) -> None:
        self.lstm = lstm
        self.training = training
        self.min_count = min_count
        self.lowercase = lowercase
        self.embedding_size = embedding_size
        self.characters = characters
        self.character_size = character_size
        self.vectors = vectors
        self.frozen = frozen
        self.word_dropout = word_dropout
        self.projection = projection
        self.frame_size = frame_size
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.crf = crf
        self.chunk_steps = chunk_steps
        self.class_weight = class_weight
        self.target_weights = target_weights
        self.validation = validation

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        groups: Sequence[Any] | None = None,
        validation_data: tuple[Any, Any] | None = None,
        output: str | Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> SequenceTagger:
        """Train on sequences and the labels of their steps.

        Args:
            X: the sequences; see the class.
            y: a list of labels for each, text or whole numbers; or a mapping from the name of a
                target to its lists, where there are several.
            groups: of each sequence, such as its speaker: those of one group are held out together.
            validation_data: `(X, y)` to choose the best epoch by; None: the share `validation`.
            output: a new or empty folder to keep the run in, from which `load` reads it back; None:
                nowhere.
            resume: go on with the interrupted run in `output`.
            on_event: called with what happens.

        Returns:
            The estimator.

        Raises:
            DataError: sequences or labels that cannot be read.
            TaskError, ConfigError, ModelError: a parameter that does not fit.
            TrainingError, RunFolderError, Interrupted: as `fastlstm.training.fit`.
        """
        sequences = read_sequences(X)
        lengths = lengths_of(sequences)
        self._targets = StepTargets.of(y, lengths)
        ids = self._targets.ids(y, lengths)
        share = self.validation if validation_data is None else 0.0
        kept, held_out = hold_out(lengths, self._most_steps(), share, groups)
        self._reader = SequenceReader.learn(
            sequences, kept, self.min_count, self.lowercase, self.characters is not None
        )
        known = self._reader.words
        instead = f"the steps are {self._reader.kind}"
        self._pretrained = read_pretrained(
            self.vectors, self.frozen, known and known.words, instead
        )
        of_kept = {name: take(rows, kept) for name, rows in ids.items()}
        sentences = sentences_of(sequences)
        self._baseline = Baseline.learn(of_kept, sentences and take(sentences, kept))
        steps = self._reader.encode(sequences)
        train = self._examples(steps, ids, kept)
        validation = None
        if validation_data is not None:
            validation = self._labelled(*validation_data)
        elif held_out:
            validation = self._examples(steps, ids, held_out)
        self.network_ = self._build_seeded()
        self._prepare_network(sequences, kept)
        self.classes_ = self._targets.targets.classes()
        self._train(self._objective(of_kept), train, validation, output, resume, on_event)
        return self

    def _most_steps(self) -> int | None:
        """Of a piece of a sequence in training."""
        if self.chunk_steps is not None and self.chunk_steps < 1:
            raise TaskError(f"chunk_steps is {self.chunk_steps}: expected at least 1, or None")
        truncate_steps = self._training_config().truncate_steps
        if truncate_steps is None:
            return self.chunk_steps
        if self._lstm_config().bidirectional:
            raise TaskError(
                f"truncate_steps is {truncate_steps}, which carries the state on in one direction: "
                "expected an LSTM that is not bidirectional, or chunk_steps"
            )
        return None

    def _examples(
        self, steps: Steps, ids: Mapping[str, Sequence[np.ndarray]], pieces: Sequence[Piece]
    ) -> TaggedExamples:
        return TaggedExamples(steps, ids, self._targets.targets.sizes, pieces)

    def _labelled(self, X: Any, y: Any) -> TaggedExamples:
        sequences = self._reader.read(X)
        lengths = lengths_of(sequences)
        ids = self._targets.ids(y, lengths)
        pieces = pieces_of(lengths, range(len(lengths)), None)
        return self._examples(self._reader.encode(sequences), ids, pieces)

    def _objective(self, ids: Mapping[str, Sequence[np.ndarray]]) -> TaggingObjective:
        targets = self._targets.targets
        if self.crf and self.class_weight is not None:
            raise TaskError("class_weight weighs single steps: expected None with crf")
        flat = {name: np.concatenate(rows) for name, rows in ids.items()}
        classes = {name: index.classes for name, index in targets.indexes.items()}
        assert isinstance(self.network_, Tagger)
        return TaggingObjective(
            self.network_,
            classes,
            targets.weights(self.class_weight, flat),
            targets.loss_weights(self.target_weights),
            [name for name, found in classes.items() if marks_spans(found)],
        )

    def _network_config(self) -> TaggerConfig:
        sizes = self._targets.targets.sizes
        return TaggerConfig(
            targets=sizes,
            words=self._word_config(),
            vectors=(
                VectorConfig(*self._reader.shape, projection_size=self.projection)
                if self._reader.kind == "vectors"
                else None
            ),
            images=(
                ImageConfig(*self._reader.shape, output_size=self.frame_size)
                if self._reader.kind == "images"
                else None
            ),
            lstm=self._lstm_config(),
            input_dropout=self.input_dropout,
            dropout=self.dropout,
            crf=tuple(sizes) if self.crf else (),
        )

    def _word_config(self) -> WordConfig | None:
        known = self._reader.words
        if known is None:
            return None
        size = self.embedding_size
        if self._pretrained is not None:
            size = self._pretrained.table.shape[1]
        characters = None
        if known.characters is not None:
            characters = CharacterConfig(
                len(known.characters),
                output_size=self.character_size,
                encoder=self.characters,  # type: ignore[arg-type]  # the network checks it
            )
        table = EmbeddingConfig(len(known.words), size, self.word_dropout, self.frozen)
        return WordConfig(table, characters)

    def _build(self, config: TaggerConfig) -> nn.Module:
        return Tagger(config)

    def _network_from(self, mapping: Mapping[str, Any], where: str) -> nn.Module:
        return Tagger(from_mapping(TaggerConfig, mapping, where))

    def _prepare_network(self, sequences: Sequences, kept: Sequence[Piece]) -> None:
        """Give the network what it takes from the training sequences before it is trained."""
        encoder = self.network_.encoder
        if isinstance(sequences, Frames):
            encoder.standardise.set_statistics(*sequences.statistics(kept))
        elif self._pretrained is not None:
            encoder.embedding.set_table(first_table(self._pretrained, self.frozen))

    def predict(self, X: Any) -> Any:
        """The most probable labels of each sequence: a list of lists, or one for each target."""
        check_is_fitted(self, "network_")
        sequences = self._reader.read(X)
        return self._targets.of_user(self._answers(sequences, self.network_.decode))

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class at each step, in the order of `classes_`.

        With a CRF that of the step's class given all steps, whose most probable one may be another
        than that of `predict`, which is of the most probable sequence.

        Returns:
            A list of arrays (T_i, K), or one for each target.
        """
        check_is_fitted(self, "network_")
        sequences = self._reader.read(X)
        found = self._answers(sequences, self.network_.probabilities)
        return self._targets.targets.of_user(found)

    def score(self, X: Any, y: Any) -> float:
        """The share of steps that are named rightly; of several targets the mean."""
        check_is_fitted(self, "network_")
        sequences = self._reader.read(X)
        ids = self._targets.ids(y, lengths_of(sequences))
        said = self._answers(sequences, self.network_.decode)
        right = [np.concatenate(said[n]) == np.concatenate(truth) for n, truth in ids.items()]
        return float(np.mean([of_target.mean() for of_target in right]))

    def evaluate(self, X: Any, y: Any) -> Any:
        """The field's measures, beside the most frequent label of each word, or of all frames.

        Returns:
            The figures by name, or those of each target: `accuracy` and `macro_f1` by step;
            `unknown_word_accuracy`, of words that training never saw; `span_precision`,
            `span_recall` and `span_f1`, where labels mark spans such as `B-LOC I-LOC O`; what the
            baseline has, `baseline_accuracy` and so on; and `unseen_labels`, the share of steps
            whose label training never saw, each of which is a mistake.
        """
        check_is_fitted(self, "network_")
        sequences = self._reader.read(X)
        lengths, sentences = lengths_of(sequences), sentences_of(sequences)
        ids = self._targets.ids(y, lengths)
        said = self._answers(sequences, self.network_.decode)
        unknown = None
        if sentences is not None:
            words = [word for sentence in sentences for word in sentence]
            unknown = np.array([not self._baseline.knows(word) for word in words])
        return self._targets.targets.of_user(
            {
                name: figures(
                    self._targets.targets.indexes[name].classes,
                    truth,
                    said[name],
                    self._baseline.predict(name, lengths, sentences),
                    unknown,
                )
                for name, truth in ids.items()
            }
        )

    def _answers(self, sequences: Sequences, read: Read) -> dict[str, list[np.ndarray]]:
        return answers(self.network_, self._reader.encode(sequences), read)

    def _state(self) -> dict[str, Any]:
        return {
            "targets": self._targets.targets.to_mapping(),
            "sequences": self._reader.to_mapping(),
        }

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._targets = StepTargets(Targets.from_mapping(state["targets"]))
        self._reader = SequenceReader.from_mapping(state["sequences"])
        self.classes_ = self._targets.targets.classes()

    def _save_files(self, folder: Path) -> None:
        self._reader.save_words(folder)
        self._baseline.save(folder)

    def _load_files(self, folder: Path) -> None:
        self._reader.load_words(folder, self.lowercase, self.characters is not None)
        self._baseline = Baseline.load(folder)
