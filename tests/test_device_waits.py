"""A training on a GPU waits for it once an update, and no tensor is made or left on the CPU.

Where there is no GPU, the device "meta" tells: a tensor of the CPU beside one of its own is an
error there, and so is to read any number.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fastlstm import Forecaster, SequenceClassifier, SequenceTagger, TextClassifier
from fastlstm.models import LSTMConfig, distributions, outputs
from fastlstm.tasks import estimator, tagging
from fastlstm.tasks.tagging import TaggingObjective
from fastlstm.training import Loss, Metric, RunningSums, map_tensors
from fastlstm.training.hardware import Hardware
from fastlstm.training.updates import Share, Updater
from training_cases import make_config

BOTH_WAYS, ONE_WAY = LSTMConfig(hidden_size=7, bidirectional=True), LSTMConfig(hidden_size=7)
READS = {
    Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__bool__, Tensor.__float__,
    Tensor.__int__, Tensor.__index__, Tensor.nonzero,
}  # fmt: skip
COPIES = {Tensor.new_tensor, torch.tensor, torch.as_tensor, torch.from_numpy}


class Apart(TorchDispatchMode):
    """Raises where an operator is given a tensor of the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            assert not isinstance(value, Tensor) or value.device.type == "meta", f"{func}: the CPU"
        return func(*args, **(kwargs or {}))


class Calls(TorchFunctionMode):
    """Counts the calls of some functions of PyTorch."""

    def __init__(self, watched: set[Any]) -> None:
        super().__init__()
        self.watched = watched
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in self.watched
        return func(*args, **(kwargs or {}))


@contextmanager
def no_copies() -> Iterator[None]:
    """Nothing may come from the CPU, be it a tensor or a list of numbers."""
    with Apart(), Calls(READS | COPIES) as calls:
        yield
    assert calls.count == 0


def texts() -> list[list[str]]:
    random = np.random.default_rng(0)
    words = ["the", "a", "good", "bad", "film", "was", "very", "dull", "bright", "of", "and"]
    return [random.choice(words, random.integers(2, 12)).tolist() for _ in range(40)]


def sequences(*shape: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(random.integers(3, 9), *shape)) for _ in range(40)]


def spans(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    names = {"good": "B-X", "bad": "I-X"}
    return [[names.get(word, "O") for word in row] for row in rows]


def series() -> np.ndarray:
    return np.abs(np.random.default_rng(0).normal(size=(3, 120, 2))).astype(np.float32)


def signs(frames: Sequence[np.ndarray]) -> list[list[int]]:
    return [[int(frame.mean() > 0) for frame in row] for row in frames]


def classifiers() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    vectors = sequences(3)
    labels = [int(item.mean() > 0) for item in vectors]
    for pooling in ("last", "mean", "max", "concat", "attention"):
        made = SequenceClassifier(BOTH_WAYS, pooling=pooling, class_weight="balanced")
        yield f"vectors {pooling}", made, (vectors, labels)
    two = {"one": labels, "other": [index % 3 for index in range(40)]}
    yield "two targets", SequenceClassifier(ONE_WAY, projection=5), (vectors, two)
    rows = [" ".join(row) for row in texts()]
    yield "texts", TextClassifier(BOTH_WAYS, min_count=1), (rows, [row[0] for row in rows])


def taggers() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    rows = texts()
    for characters in ("lstm", "cnn", None):
        made = SequenceTagger(BOTH_WAYS, min_count=1, characters=characters)
        yield f"words {characters}", made, (rows, spans(rows))
    made = SequenceTagger(BOTH_WAYS, min_count=1, crf=True)
    yield "words crf", made, (rows, spans(rows))
    vectors, images = sequences(3), sequences(8, 8)
    made = SequenceTagger(ONE_WAY, class_weight="balanced")
    yield "frames", made, (vectors, signs(vectors))
    yield "images", SequenceTagger(ONE_WAY), (images, signs(images))


def forecasters() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    for output in ("quantile", "point", "normal", "student_t", "negative_binomial"):
        for decoder in ("direct", "autoregressive"):
            made = Forecaster(5, lstm=ONE_WAY, output=output, decoder=decoder, input_chunk=20)
            yield f"{output} {decoder}", made, (series(),)
    made = Forecaster(5, lstm=ONE_WAY, joint=True, input_chunk=20, segment=4)
    yield "joint", made, (series(),)


CASES = {name: (made, data) for part in (classifiers(), taggers(), forecasters())
         for name, made, data in part}  # fmt: skip


class NotTrainedError(Exception):
    """In place of the training, which is left out."""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From an estimator and its data to what would be trained, and a batch; both on "meta"."""
    given: list[Any] = []

    def leave_out(objective: Any, train: Any, *others: Any, **named: Any) -> None:
        given.extend((objective, train))
        raise NotTrainedError

    def prepare(made: Any, data: tuple[Any, ...]) -> tuple[Any, Any]:
        with pytest.raises(NotTrainedError):
            made.fit(*data)
        objective, train = given
        objective.network.to("meta")
        return objective, map_tensors(train.batch(range(10)), lambda tensor: tensor.to("meta"))

    monkeypatch.setattr(estimator, "fit", leave_out)
    # As on a GPU: copied there at first, and kept.
    for module in (outputs, distributions):
        kept = lambda values, like: like.new_full((len(values),), 0.5)  # noqa: E731
        monkeypatch.setattr(module, "constants", kept)
    return prepare


@pytest.mark.parametrize("name", CASES)
def test_a_loss_and_its_gradient(name: str, elsewhere: Any) -> None:
    objective, batch = elsewhere(*CASES[name])
    objective.loss(batch, None)  # class weights are copied once
    with no_copies():
        loss = objective.loss(batch, None)
        loss.total.backward()
    assert loss.total.device.type == "meta"
    for parameter in objective.network.parameters():
        assert parameter.grad is None or parameter.grad.device.type == "meta"


@pytest.mark.parametrize("name", CASES)
def test_a_validation_is_read_once(
    name: str, elsewhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, batch = elsewhere(*CASES[name])
    read: list[int] = []

    def read_none(sums: RunningSums) -> dict[str, float]:
        read.append(1)
        return dict.fromkeys(sums._sums, 0.0)

    monkeypatch.setattr(RunningSums, "read", read_none)
    counted: list[int] = []
    monkeypatch.setattr(
        TaggingObjective, "_count", lambda _, unread, *others: counted.append(len(unread))
    )
    objective.network.eval()
    with torch.no_grad():
        objective.loss(batch, None)
        with no_copies():
            objective.evaluate([batch] * 3)
    assert read == [1]
    assert counted == ([3] if isinstance(objective, TaggingObjective) else [])


@pytest.mark.parametrize("name", CASES)
def test_a_prediction_is_where_the_network_is(name: str, elsewhere: Any) -> None:
    made, data = CASES[name]
    elsewhere(made, data)
    calls = [lambda: made.predict(data[0])]
    if len(data) == 1:
        calls += [lambda: made.evaluate(data[0])]
        if made.output not in ("point", "student_t", "negative_binomial"):  # SciPy's are read
            calls += [lambda: made.predict(data[0], level=[80])]
    else:
        calls += [lambda: made.predict_proba(data[0])]
    for call in calls:
        # The last thing that is done there is to read it.
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta") as error:
            call()
        ours = [entry for entry in error.traceback if "fastlstm" in str(entry.path)]
        assert ".cpu()" in str(ours[-1].statement)


@pytest.mark.parametrize("crf", [False, True])
def test_padding_left_out_by_its_label_counts_as_if_not_there(
    crf: bool, elsewhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = texts()
    made = SequenceTagger(BOTH_WAYS, min_count=1, crf=crf, dropout=0, input_dropout=0)
    made.word_dropout = 0.0
    given: list[Any] = []
    monkeypatch.setattr(estimator, "fit", lambda *arguments, **named: given.extend(arguments[:2]))
    made.fit(rows, spans(rows))
    objective, train = given
    batch = train.batch(range(10))
    batch.ids["label"][2, 0] = -1  # a class that training never saw
    found = []
    for picks in (True, False):
        monkeypatch.setattr(tagging, "_can_pick", lambda device, picks=picks: picks)
        objective.network.zero_grad()
        loss = objective.loss(batch, None)
        loss.total.backward()
        gradients = [p.grad for p in objective.network.parameters() if p.grad is not None]
        found.append([loss.total.detach(), loss.weight, loss.sums["accuracy"], *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    scores = torch.full((2, 3, 4), torch.nan)
    live = torch.tensor([[True, False, False], [True, True, False]])
    scores[live] = 0.0
    kept, labels = tagging._live_steps(scores, torch.ones(2, 3, dtype=torch.int64), live)
    assert kept.isfinite().all() and labels.tolist() == [1, -1, -1, 1, 1, -1]


class Squares:
    """A loss whose numbers are all tensors, and may be of no weight."""

    metric = Metric("loss", higher_is_better=False)

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(3, 2)

    def loss(self, batch: Tensor, state: Any) -> Loss:
        total = self.network(batch).square().sum()
        weight = (batch != 0).any(1).sum()
        return Loss(total * (weight > 0), weight, {"a": total, "b": 2.0})


def test_an_update_is_read_once() -> None:
    objective, config = Squares(), make_config(max_gradient_norm=0.1)
    with Hardware(config) as hardware:
        updater = Updater(objective, config, hardware)  # type: ignore[arg-type]
        shares = [Share(torch.randn(4, 3), 1.0), Share(torch.randn(5, 3), 1.0)]
        with Calls(READS) as calls:
            for _ in range(3):
                totals, _ = updater.update(shares, lambda passed: 0.1, "here")
    assert calls.count == 3
    assert (totals.weight, totals.sums["b"]) == (9.0, 4.0)


def test_batches_go_through_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def pin(tensor: Tensor) -> Tensor:
        assert tensor.is_contiguous()
        done.append("pin")
        return tensor

    def move(tensor: Tensor, *where: Any, **how: Any) -> Tensor:
        done.append((*where, how))
        return tensor

    with Hardware(make_config()) as hardware:
        monkeypatch.setattr(Tensor, "pin_memory", pin)
        monkeypatch.setattr(Tensor, "to", move)
        hardware.device = torch.device("cuda")
        hardware.to_device({"x": torch.ones(1, 3).expand(2, 3)})
    assert done == ["pin", (torch.device("cuda"), {"non_blocking": True})]


def test_float16_goes_on_after_an_update_of_no_weight() -> None:
    # On the CPU, which the settings would refuse; its scaler does what that of a GPU does.
    objective, config = Squares(), make_config(precision="float16")
    with Hardware(make_config()) as hardware:
        inner = hardware._accelerator
        inner.scaler, inner.native_amp = torch.amp.GradScaler("cpu"), True
        inner.state._mixed_precision = "fp16"
        updater = Updater(objective, config, hardware)  # type: ignore[arg-type]
        weight = objective.network.weight
        before = weight.detach().clone()
        updater.update([Share(torch.zeros(4, 3), 1.0)], lambda passed: 0.1, "here")
        assert torch.equal(weight, before)
        for _ in range(10):  # at first the scale is too large, and steps are left out
            updater.update([Share(torch.randn(4, 3), 1.0)], lambda passed: 0.1, "here")
        assert weight.isfinite().all() and not torch.equal(weight, before)
