"""Trainings that several processes run together, in a folder that is given."""

import itertools
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy

from fastlstm.training import (
    Interrupted,
    Loss,
    Metric,
    RunFolder,
    Sum,
    TrainingConfig,
    TrainingError,
    evaluate,
    fit,
)
from training_cases import Batch, Classify, Clouds, make_clouds, make_config, make_objective

# 31 examples in batches of 10: shares of 5 and 5, and at the end one of 1 and none.
SETTINGS: dict[str, dict] = {
    # On a GPU two processes would need one each.
    "plain": {"device": "cpu" if torch.accelerator.is_available() else "auto"},
    "accumulated": {"accumulate": 3, "bucket": False},
    "clipped": {"max_gradient_norm": 0.05, "schedule": "plateau"},
    "stretches": {"truncate_steps": 2},
    "derived": {},
    "rare": {"weight_decay": 0.1, "bucket": False},
    "interrupted": {"checkpoint_seconds": 1000.0},
}

ONE = torch.ones(())


class Labels(Classify):
    """The class at every step, so that a batch can be cut into stretches of time."""

    def loss(self, batch: Batch, state: object) -> Loss:
        output, state = self.network.lstm(batch.inputs, state)
        logits = self.network.head(output)
        steps = logits.shape[1]
        valid = (torch.arange(steps) < batch.lengths[:, None]).flatten()
        labels = batch.labels.repeat_interleave(steps)
        losses = cross_entropy(logits.flatten(0, 1), labels, reduction="none")
        return Loss((losses * valid).sum(), float(valid.sum()), state=state)

    def stretches(self, batch: Batch, steps: int) -> list[Batch]:
        return [
            Batch(part, batch.labels, (batch.lengths - index * steps).clamp(min=0))
            for index, part in enumerate(batch.inputs.split(steps, dim=1))
        ]


class Means(Classify):
    """With a figure that is no quotient of two sums, and one that counts."""

    metric = Metric("balanced", higher_is_better=True)

    def evaluate(self, batches: Iterable[Batch]) -> Mapping[str, Sum]:
        counts = torch.zeros(2, 2)
        for batch in batches:
            said = self.network(batch.inputs, batch.lengths).argmax(dim=1)
            counts.index_put_((batch.labels, (said == batch.labels).long()), ONE, accumulate=True)
        return {f"class {k}": Sum(float(counts[k, 1]), float(counts[k].sum())) for k in (0, 1)}

    def figures(self, sums: Mapping[str, Sum]) -> dict[str, float]:
        return {
            "balanced": sum(found.mean for found in sums.values()) / 2,
            "accuracy": sum(found.total for found in sums.values())
            / sum(found.count for found in sums.values()),
            "count": sum(found.count for found in sums.values()),
        }


class Rare(Classify):
    """With a parameter that only sequences of full length use: not each process has one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        network.rare = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def loss(self, batch: Batch, state: object) -> Loss:
        loss = super().loss(batch, state)
        full = int((batch.lengths == 7).sum())
        if full:
            loss = loss._replace(total=loss.total + full * self.network.rare.square().sum())
        return loss


def objective_of(name: str) -> Classify:
    objective = make_objective(torch.float64)
    kinds = {"stretches": Labels, "derived": Means, "rare": Rare}
    return kinds.get(name, Classify)(objective.network)


def settings(name: str) -> TrainingConfig:
    return make_config(epochs=3, patience=2, **SETTINGS[name])


def run(name: str, folder: Path, rank: int) -> None:
    """Train, and write the weights and figures that this process ends with."""
    objective = objective_of(name)
    if rank:  # must not matter: the first process's weights count
        with torch.no_grad():
            objective.network.head.weight.add_(1.0)
    train = make_clouds(31, dtype=torch.float64)
    validation = make_clouds(33, 1, dtype=torch.float64)
    run_folder = RunFolder.create(folder / name, {"name": name})
    config = settings(name)
    if name == "interrupted":
        interrupt(objective, train, validation, config, run_folder, rank)
    history = fit(objective, train, validation, config, run_folder, resume=name == "interrupted")
    lines = [{**line, "seconds": 0.0} for line in history.records]
    figures = {
        "history": lines,
        "best_epoch": history.best_epoch,
        "evaluate": evaluate(objective, validation, config),
        # Fewer batches than processes: each measures all of it, and it counts once.
        "few": evaluate(objective, make_clouds(3, dtype=torch.float64), config),
    }
    (folder / f"{name}-{rank}.json").write_text(json.dumps(figures))
    save_file(objective.network.state_dict(), folder / f"{name}-{rank}.safetensors")


def interrupt(
    objective: Classify,
    train: Clouds,
    validation: Clouds,
    config: TrainingConfig,
    run_folder: RunFolder,
    rank: int,
) -> None:
    """A signal to the last process alone stops them all at one place."""
    calls = itertools.count()

    def hook(*arguments: object) -> None:
        if rank and next(calls) == 6:
            signal.raise_signal(signal.SIGTERM)

    handle = objective.network.register_forward_hook(hook)
    try:
        fit(objective, train, validation, config, run_folder)
    except Interrupted as error:
        assert "saved in" in str(error)
    else:
        raise AssertionError("not interrupted")
    handle.remove()


def fail_together() -> None:
    """What one process's examples break, all tell."""
    train = make_clouds(20)
    train.inputs[7] = float("nan")
    try:
        fit(make_objective(), train, None, make_config())
    except TrainingError as error:
        assert str(error).startswith("the loss became nan in epoch 1, batch ")
    else:
        raise AssertionError("no error")


def run_all(folder: Path, rank: int) -> None:
    """Train everything."""
    for name in SETTINGS:
        run(name, folder, rank)
    fail_together()


if __name__ == "__main__":  # under a launcher
    run(sys.argv[2], Path(sys.argv[1]), int(os.environ["RANK"]))
