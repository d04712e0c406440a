"""What the training loop computes, and what it refuses."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fastlstm.training import (
    BatchesDone,
    EpochDone,
    Event,
    Interrupted,
    Loss,
    Metric,
    RunFolder,
    Sum,
    TrainingError,
    evaluate,
    fit,
)
from fastlstm.training.batches import training_batches
from fastlstm.training.schedule import learning_rate
from training_cases import (
    Batch,
    Classify,
    Clouds,
    assert_same_weights,
    make_clouds,
    make_config,
    make_objective,
    weights_of,
)


def test_it_learns_and_counts() -> None:
    objective, validation = make_objective(), make_clouds(33, 1)
    history = fit(objective, make_clouds(75), validation, make_config(epochs=6))
    first, last = history.records[0], history.records[-1]
    assert [record["epoch"] for record in history.records] == [1, 2, 3, 4, 5, 6]
    assert list(first) == [
        "epoch",
        "updates",
        "train_loss",
        "train_accuracy",
        "validation_accuracy",
        "validation_loss",
        "learning_rate",
        "seconds",
    ]
    assert first["train_loss"] > 0.6 > 0.3 > last["train_loss"]
    assert last["updates"] == 6 * 8
    assert history.best_value == max(record["validation_accuracy"] for record in history.records)
    assert not history.stopped_early
    figures = evaluate(objective, validation, make_config())
    assert figures["accuracy"] == history.best_value > 0.9
    assert figures["loss"] == history.records[history.best_epoch - 1]["validation_loss"]


def test_it_computes_what_a_plain_loop_does() -> None:
    """AdamW on the mean loss of each batch, with clipping and the schedule, written out."""
    config = make_config(epochs=2, weight_decay=0.0, max_gradient_norm=0.1)
    train = make_clouds(35, dtype=torch.float64)
    objective, plain = make_objective(torch.float64), make_objective(torch.float64)
    history = fit(objective, train, None, config)

    optimizer = torch.optim.AdamW(plain.network.parameters(), betas=config.betas, weight_decay=0.0)
    step = 0
    for epoch in (1, 2):
        losses, right = 0.0, 0.0
        for indices in training_batches(35, 10, config.seed, epoch, train.lengths):
            loss = plain.loss(train.batch(indices), None)
            optimizer.zero_grad()
            (loss.total / loss.weight).backward()
            nn.utils.clip_grad_norm_(plain.network.parameters(), 0.1)
            optimizer.param_groups[0]["lr"] = learning_rate(config, (step + 0.5) / 8, 1.0)
            optimizer.step()
            step += 1
            losses += float(loss.total.detach())
            right += float(loss.sums["accuracy"])
        assert history.records[epoch - 1]["train_loss"] == pytest.approx(losses / 35, rel=1e-12)
        assert history.records[epoch - 1]["train_accuracy"] == pytest.approx(right / 35)
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(
            objective.network.state_dict()[name], value, rtol=1e-9, atol=1e-12
        )


def test_accumulated_batches_are_as_one() -> None:
    train = make_clouds(35, dtype=torch.float64)
    weights = []
    for changes in ({"batch_size": 35}, {"batch_size": 10, "accumulate": 4}):
        objective = make_objective(torch.float64)
        history = fit(objective, train, None, make_config(schedule="constant", **changes))
        assert history.records[-1]["updates"] == 3
        weights.append(weights_of(objective))
    for name, value in weights[0].items():
        if name != "seen":  # counts forwards
            torch.testing.assert_close(weights[1][name], value, rtol=1e-9, atol=1e-12)


def test_the_best_epoch_wins_and_patience_ends() -> None:
    class Scripted(Classify):
        def __init__(self, network: nn.Module, values: list[float], higher: bool) -> None:
            super().__init__(network)
            self.values = iter(values)
            self.metric = Metric("value", higher)
            self.kept: list[dict[str, Tensor]] = []

        def evaluate(self, batches: Iterable[Batch]) -> Mapping[str, Sum]:
            self.kept.append(weights_of(self))
            return {"value": Sum(next(self.values), 1)}

    nan = float("nan")
    for values, higher, patience, best, epochs in (
        ([1, 3, 2, 2, 2, 9], True, 3, 2, 5),
        ([3, 1, 2, 2, 2, 0], False, 3, 2, 5),
        ([1, 3, 3, 3, 3, 9], True, 3, 5, 5),  # the later of equals; patience goes by the first
        ([1, nan, 2, 0, 0, 0], True, None, 3, 6),
        ([nan, nan, nan, 1, 0, 0], True, None, 4, 6),
        ([nan, nan, nan, nan, nan, nan], True, 4, 1, 5),
    ):
        objective = Scripted(make_objective().network, values, higher)
        config = make_config(epochs=6, patience=patience)
        history = fit(objective, make_clouds(20), make_clouds(5), config)
        assert (history.best_epoch, len(history.records)) == (best, epochs)
        assert history.stopped_early == (epochs < 6)
        assert_same_weights(weights_of(objective), objective.kept[best - 1])
        value = values[best - 1]
        assert history.best_value == (None if value != value else value)
    assert history.records[0]["validation_value"] is None  # JSON has no NaN


def test_a_plateau_lowers_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([1, 2, 2, 2, 2, 2, 3, 3])
    monkeypatch.setattr(
        Classify, "evaluate", lambda self, batches: {"accuracy": Sum(next(values), 1)}
    )
    config = make_config(
        epochs=8, schedule="plateau", plateau_epochs=2, plateau_factor=0.5, learning_rate=0.016
    )
    history = fit(make_objective(), make_clouds(20), make_clouds(5), config)
    rates = [record["learning_rate"] for record in history.records]
    assert rates == pytest.approx([0.016] * 4 + [0.008] * 2 + [0.004] * 2)


def test_without_validation_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    objective, folder = make_objective(), RunFolder.create(tmp_path / "run", {})
    history = fit(objective, make_clouds(20), None, make_config(), folder)
    assert (history.best_epoch, history.best_value) == (3, None)
    assert_same_weights(weights_of(objective), folder.read_weights())


def test_nan_in_the_inputs_is_told(tmp_path: Path) -> None:
    clouds = make_clouds(20)
    clouds.inputs[13] = float("nan")
    path = tmp_path / "run"
    with pytest.raises(TrainingError) as error, RunFolder.create(path, {}) as folder:
        fit(make_objective(), clouds, None, make_config(), folder)
    batches = training_batches(20, 10, 5, 1, clouds.lengths)
    number = next(place for place, batch in enumerate(batches, 1) if 13 in batch)
    assert str(error.value) == (
        f"the loss became nan in epoch 1, batch {number} (step {number}): the inputs of this batch "
        "hold NaN or infinity; clean the data"
    )
    assert not path.exists()


def test_a_loss_that_is_not_finite_says_what_to_try() -> None:
    class Exploding(Classify):
        scale = float("inf")

        def loss(self, batch: Batch, state: object) -> Loss:
            loss = super().loss(batch, state)
            return loss._replace(total=loss.total * self.scale)

    def refused(objective: Classify, **changes: object) -> str:
        config = make_config(schedule="constant", **changes)
        before = weights_of(objective)
        with pytest.raises(TrainingError) as error:
            fit(objective, make_clouds(20), None, config)
        before.pop("seen")
        assert_same_weights(before, {name: weights_of(objective)[name] for name in before})
        return str(error.value)

    objective = Exploding(make_objective().network)
    where = "in epoch 1, batch 1 (step 1): the inputs of this batch are finite; try"
    rate = "a learning_rate below 0.02 (here it was 0.02)"
    assert refused(objective) == f"the loss became inf {where} {rate}, max_gradient_norm below 1"
    assert refused(objective, max_gradient_norm=None) == (
        f"the loss became inf {where} {rate}, clipping (max_gradient_norm, now off)"
    )
    assert refused(objective, precision="bfloat16").endswith(
        ", precision float32 in place of bfloat16"
    )
    # A loss that is still finite, with a gradient that no longer is.
    network = make_objective().network
    network.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    assert refused(Classify(network)).startswith("the norm of the gradient became ")


@pytest.mark.parametrize(
    ("changes", "train", "validation", "message"),
    [
        ({}, 0, 5, "there are no training examples: expected at least one"),
        ({}, 5, 0, "there are no validation examples: expected some, or None"),
        ({"patience": 2}, 5, None, "patience is 2: expected validation examples with it"),
        ({"schedule": "plateau"}, 5, None, "schedule is plateau: expected validation examples"),
        ({"device": "cuda"}, 5, 5, "device is cuda, and there is none: expected auto or cpu"),
        (
            {"precision": "float16"},
            5,
            5,
            "precision is float16: expected float32 or bfloat16 on a CPU",
        ),
        ({"trackers": ("tensorboard",)}, 5, 5, "trackers is tensorboard: expected a run folder"),
        ({"trackers": ("abacus",)}, 5, 5, "trackers has 'abacus': expected some of "),
        ({"trackers": ("wandb",)}, 5, 5, "trackers has 'wandb', which is not installed"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="some of it is to be had here")
def test_what_cannot_start(changes: dict, train: int, validation: int | None, message: str) -> None:
    examples = None if validation is None else make_clouds(validation)
    threads = torch.get_num_threads()
    config = make_config(**{"device": "auto", "threads": 3, **changes})
    with pytest.raises(TrainingError) as error:
        fit(make_objective(), make_clouds(train), examples, config)
    assert str(error.value).startswith(message)
    assert torch.get_num_threads() == threads


def test_figures_derived_from_sums_can_decide() -> None:
    class Macro(Classify):
        metric = Metric("macro", higher_is_better=True)

        def evaluate(self, batches: Iterable[Batch]) -> Mapping[str, Sum]:
            list(batches)
            return {"one": Sum(1, 2), "other": Sum(3, 4), "none": Sum(0, 0)}

        def figures(self, sums: Mapping[str, Sum]) -> Mapping[str, float]:
            assert sums == {"one": (1, 2), "other": (3, 4), "none": (0, 0)}
            assert math.isnan(sums["none"].mean)
            return {"macro": (sums["one"].mean + sums["other"].mean) / 2}

    objective = Macro(make_objective().network)
    assert evaluate(objective, make_clouds(5), make_config()) == {"macro": 0.625}
    history = fit(objective, make_clouds(20), make_clouds(5), make_config())
    assert history.best_value == 0.625
    assert history.records[0]["validation_macro"] == 0.625


def test_a_metric_that_is_not_measured() -> None:
    objective = make_objective()
    objective.metric = Metric("f1", True)
    with pytest.raises(TrainingError) as error:
        fit(objective, make_clouds(20), make_clouds(5), make_config())
    assert str(error.value) == "the metric is 'f1', and evaluate gives 'accuracy', 'loss'"


def test_a_frozen_network_and_a_frozen_part() -> None:
    objective = make_objective()
    objective.network.lstm.requires_grad_(False)
    before = weights_of(objective)
    fit(objective, make_clouds(20), None, make_config())
    after = weights_of(objective)
    assert torch.equal(before["lstm.weight_hh_l0"], after["lstm.weight_hh_l0"])
    assert not torch.equal(before["head.weight"], after["head.weight"])
    objective.network.requires_grad_(False)
    with pytest.raises(TrainingError, match=r"^the network has no parameter to train$"):
        fit(objective, make_clouds(20), None, make_config())


def test_bfloat16_trains_in_it_and_keeps_the_weights() -> None:
    seen = set()

    class Look(Classify):
        def loss(self, batch: Batch, state: object) -> Loss:
            loss = super().loss(batch, state)
            seen.add(self.network(batch.inputs, batch.lengths).dtype)
            return loss

    objective = Look(make_objective().network)
    history = fit(objective, make_clouds(75), make_clouds(33, 1), make_config(precision="bfloat16"))
    assert seen == {torch.bfloat16}
    assert objective.network.head.weight.dtype == torch.float32
    assert history.records[-1]["train_loss"] < history.records[0]["train_loss"]
    # The next training has its own precision.
    fit(Look(make_objective().network), make_clouds(20), None, make_config(epochs=1))
    assert seen == {torch.bfloat16, torch.float32}


def test_a_batch_without_weight_changes_nothing() -> None:
    class Masked(Classify):
        def loss(self, batch: Batch, state: object) -> Loss:
            loss = super().loss(batch, state)
            return Loss(loss.total * 0.0, 0.0)

    objective = Masked(make_objective().network)
    before = weights_of(objective)
    history = fit(objective, make_clouds(20), None, make_config(epochs=1))
    before.pop("seen")
    assert_same_weights(before, {name: weights_of(objective)[name] for name in before})
    assert history.records[0]["train_loss"] is None


def test_tensorboard_gets_the_figures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder.create(tmp_path / "run", {})
    config = make_config(trackers=("tensorboard",))
    history = fit(make_objective(), make_clouds(20), make_clouds(5), config, folder)
    written = EventAccumulator(str(next((tmp_path / "run").rglob("events*")).parent))
    written.Reload()
    found = [(event.step, event.value) for event in written.Scalars("validation_loss")]
    expected = [(record["epoch"], record["validation_loss"]) for record in history.records]
    assert found == [(step, pytest.approx(value)) for step, value in expected]


def test_whoever_else_uses_accelerate_keeps_their_state() -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    try:
        theirs = Accelerator(cpu=True, mixed_precision="bf16")
        fit(make_objective(), make_clouds(20), None, make_config(epochs=1))
        assert (theirs.mixed_precision, theirs.device.type) == ("bf16", "cpu")
    finally:
        AcceleratorState._reset_state(True)
        PartialState._reset_state()


def test_an_event_handler_may_end_the_training() -> None:
    class PrunedError(Exception):
        pass

    def prune(event: Event) -> None:
        if isinstance(event, EpochDone):
            raise PrunedError

    with pytest.raises(PrunedError):
        fit(make_objective(), make_clouds(20), None, make_config(), on_event=prune)


def test_events_count_up() -> None:
    events: list[Event] = []
    clouds = make_clouds(25, ragged=False)
    assert isinstance(clouds, Clouds)
    fit(make_objective(), clouds, None, make_config(epochs=2), on_event=events.append)
    batches = [event for event in events if isinstance(event, BatchesDone)]
    assert [(event.epoch, event.examples) for event in batches] == [
        (1, 10),
        (1, 20),
        (1, 25),
        (2, 10),
        (2, 20),
        (2, 25),
    ]
    assert all(set(event.averages) == {"loss", "accuracy"} for event in batches)
    assert issubclass(Interrupted, KeyboardInterrupt)
