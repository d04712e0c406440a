"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy
import torch
from torch import Tensor

from fastlstm.config import to_mapping
from fastlstm.training import generators
from fastlstm.training.batches import count_batches, share, training_batches
from fastlstm.training.checkpoint import Course, load_checkpoint, save_checkpoint
from fastlstm.training.errors import Interrupted, TrainingError
from fastlstm.training.evaluation import evaluate_on
from fastlstm.training.events import BatchesDone, EpochDone, Event, Started
from fastlstm.training.examples import Examples
from fastlstm.training.folder import RunFolder
from fastlstm.training.hardware import Hardware, device_name
from fastlstm.training.history import History
from fastlstm.training.interrupts import StopRequest, stop_on_signals
from fastlstm.training.objective import Objective
from fastlstm.training.schedule import learning_rate
from fastlstm.training.settings import TrainingConfig, choose_epochs
from fastlstm.training.updates import Share, Totals, Updater


def fit(
    objective: Objective,
    train: Examples,
    validation: Examples | None,
    config: TrainingConfig,
    folder: RunFolder | None = None,
    *,
    resume: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> History:
    """Train the network of `objective` in place; at the end it has the weights of the best epoch.

    A resumed training ends with the same weights, bit for bit, wherever it was stopped, on a device
    that computes the same twice. SIGINT and SIGTERM end it in order. The global random generators
    and the number of threads are set for the training, and put back after it.

    Under `torchrun` or `accelerate launch` every process calls this with the same arguments, on a
    file system that all share; what comes out is what one process computes, within rounding.

    Args:
        objective: the network, its loss and how it is measured.
        train: the training examples.
        validation: measured after each epoch and used for nothing else; None: the last epoch counts
            as the best.
        config: the settings.
        folder: where weights, metrics and checkpoints go; None: nowhere.
        resume: go on from the checkpoint in `folder`; a run without one begins anew.
        on_event: called in the first process with what happens.

    Raises:
        ConfigError: the settings do not fit together.
        TrainingError: it cannot start, or the loss is no longer finite.
        RunFolderError: the disk refuses, or the checkpoint does not fit.
        Interrupted: a signal came; with a folder, all is saved.
    """
    _check(train, validation, config, folder, resume)
    home = next(objective.network.parameters(), torch.empty(0)).device
    with ExitStack() as stack:
        trackers_folder = folder.path if folder is not None else None
        hardware = stack.enter_context(Hardware(config, trackers_folder))
        seed = (config.seed + hardware.process) % 2**32
        stack.enter_context(generators.seeded(seed, hardware.device))
        stop = stack.enter_context(stop_on_signals())
        # The last to be undone, and so before the hardware: whatever happens.
        stack.callback(objective.network.to, home)
        training = _Training(objective, train, validation, config, folder, hardware, stop)
        training.on_event = on_event if on_event is not None and hardware.is_first else _ignore
        return training.run(resume)


def _check(
    train: Examples,
    validation: Examples | None,
    config: TrainingConfig,
    folder: RunFolder | None,
    resume: bool,
) -> None:
    if len(train) == 0:
        raise TrainingError("there are no training examples: expected at least one")
    if validation is not None and len(validation) == 0:
        raise TrainingError("there are no validation examples: expected some, or None")
    if validation is None and config.patience is not None:
        raise TrainingError(f"patience is {config.patience}: expected validation examples with it")
    if validation is None and config.schedule == "plateau":
        raise TrainingError("schedule is plateau: expected validation examples with it")
    if resume and folder is None:
        raise TrainingError("resume is True: expected the folder of the run with it")


def _ignore(event: Event) -> None:
    pass


class _Training:
    """One run of `fit`."""

    on_event: Callable[[Event], None]

    def __init__(
        self,
        objective: Objective,
        train: Examples,
        validation: Examples | None,
        config: TrainingConfig,
        folder: RunFolder | None,
        hardware: Hardware,
        stop: StopRequest,
    ) -> None:
        self.objective = objective
        self.train = train
        self.validation = validation
        self.batches = count_batches(len(train), config.batch_size)
        self.epochs = choose_epochs(config, self.batches)
        # What was chosen is what a run remembers, and what one that goes on with it is held to.
        self.config = replace(config, epochs=self.epochs)
        self.folder = folder
        self.hardware = hardware
        self.stop = stop
        self.network = objective.network.to(hardware.device)
        hardware.share_network(self.network)
        self.updater = Updater(objective, config, hardware)
        self.course = Course()
        self.best: Mapping[str, Tensor] = {}
        self.saved = time.monotonic()

    def run(self, resume: bool) -> History:
        """Train from the beginning, or from the checkpoint, to the end."""
        if resume:
            self._resume()
        self._start()
        while not self.course.finished:
            self._train_epoch()
            self._end_epoch()
        self._save()
        self.network.load_state_dict(self.best)
        course = self.course
        assert course.best_epoch is not None  # the first epoch is the best until another is
        stopped_early = len(course.lines) < self.epochs
        return History(course.lines, course.best_epoch, course.best_value, stopped_early)

    def _resume(self) -> None:
        assert self.folder is not None  # `fit` has checked it
        course = load_checkpoint(
            self.folder,
            self.config,
            len(self.train),
            self.network,
            self.updater.optimizer,
            self.hardware,
        )
        if course is not None:
            self.course = course
            if course.best_epoch is not None:
                self.best = self.hardware.to_device(self.folder.read_weights())
        # Nobody may write before all have read.
        self.hardware.wait()

    def _start(self) -> None:
        course = self.course
        if self.folder is not None and self.hardware.is_first:
            # A killed run may have written more than its last checkpoint knows.
            self.folder.save_metrics(course.lines)
        self.hardware.start_trackers(to_mapping(self.config))
        done = min(course.batches * self.config.batch_size, len(self.train))
        metric = self.objective.metric
        name = device_name(self.hardware.device)
        self.on_event(Started(self.epochs, len(self.train), metric, course.epoch, done, name))

    def _train_epoch(self) -> None:
        config, course = self.config, self.course
        lengths = self.train.lengths if config.bucket else None
        plan = training_batches(
            len(self.train), config.batch_size, config.seed, course.epoch, lengths
        )
        self.network.train()
        spent, start = course.seconds, time.perf_counter()
        done = sum(len(batch) for batch in plan[: course.batches])
        while course.batches < len(plan):
            group = plan[course.batches : course.batches + config.accumulate]
            shares = [self._share(batch) for batch in group]
            totals, updates = self.updater.update(shares, self._rate_at(len(group)), self._place())
            course.totals.add(totals)
            course.batches += len(group)
            course.updates += updates
            course.seconds = spent + time.perf_counter() - start
            done += sum(len(batch) for batch in group)
            self.on_event(
                BatchesDone(course.epoch, done, course.totals.averages(), self._rate_at(0)(0.0))
            )
            self._save_or_stop()

    def _share(self, batch: numpy.ndarray) -> Share:
        indices, factor = share(batch, self.hardware.process, self.hardware.processes)
        return Share(self.hardware.to_device(self.train.batch(indices)), factor)

    def _rate_at(self, group: int) -> Callable[[float], float]:
        course = self.course
        before = (course.epoch - 1) * self.batches + course.batches
        total = self.epochs * self.batches
        plateau = course.plateau
        return lambda passed: learning_rate(self.config, (before + passed * group) / total, plateau)

    def _place(self) -> str:
        course = self.course
        return f"in epoch {course.epoch}, batch {course.batches + 1} (step {course.updates + 1})"

    def _save_or_stop(self) -> None:
        due = time.monotonic() - self.saved >= self.config.checkpoint_seconds
        # A signal to any process, or its clock, counts for all.
        stops, saves = self.hardware.add_up([float(self.stop.received), float(due)])
        if stops or saves:
            self._save()
        if stops:
            raise Interrupted(self._interruption())

    def _save(self) -> None:
        save_checkpoint(
            self.folder,
            self.course,
            self.config,
            len(self.train),
            self.network,
            self.updater.optimizer,
            self.hardware,
        )
        self.saved = time.monotonic()

    def _interruption(self) -> str:
        course = self.course
        done = f"{course.batches} of {self.batches} batches"
        place = f"interrupted in epoch {course.epoch} after {done}"
        if self.folder is None:
            return f"{place}; nothing is saved, as there is no run folder"
        return f"{place}; saved in {self.folder.path}: resume goes on from there"

    def _end_epoch(self) -> None:
        course = self.course
        start = time.perf_counter()
        figures = self._validate()
        course.seconds += time.perf_counter() - start
        is_best = self._is_best(figures)
        record = self._record(figures)
        course.lines.append(record)
        if is_best:
            self._keep_best()
        if self.folder is not None and self.hardware.is_first:
            self.folder.save_metrics(course.lines)
        self.hardware.track(_numbers(record), course.epoch)
        self.on_event(EpochDone(course.epoch, record, is_best))
        self._next_epoch()
        if not course.finished:
            self._save_or_stop()

    def _validate(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        # Running statistics, such as a batch norm's, differ from process to process.
        self.hardware.share_network(self.network)
        figures = evaluate_on(self.objective, self.validation, self.config, self.hardware)
        if self.objective.metric.name not in figures:
            raise TrainingError(
                f"the metric is {self.objective.metric.name!r}, and evaluate gives "
                f"{', '.join(map(repr, figures)) or 'nothing'}"
            )
        return figures

    def _is_best(self, figures: dict[str, float]) -> bool:
        course, metric = self.course, self.objective.metric
        sign = 1.0 if metric.higher_is_better else -1.0
        value = figures.get(metric.name, math.nan)
        gain = math.inf
        if course.best_epoch is not None and self.validation is not None:
            if not math.isfinite(value):
                return False
            if course.best_value is not None:
                gain = sign * (value - course.best_value)
        # Of epochs alike the later one: its learning rate was lower. Patience is not renewed by it.
        if gain < 0:
            return False
        if gain > 0:
            course.improved = course.epoch
        course.best_epoch = course.epoch
        course.best_value = value if math.isfinite(value) else None
        return True

    def _record(self, figures: dict[str, float]) -> dict[str, Any]:
        course = self.course
        record: dict[str, Any] = {"epoch": course.epoch, "updates": course.updates}
        record |= {f"train_{name}": value for name, value in course.totals.averages().items()}
        record |= {f"validation_{name}": value for name, value in figures.items()}
        record |= {"learning_rate": self._rate_at(0)(0.0), "seconds": course.seconds}
        # JSON has no NaN.
        return {name: value if math.isfinite(value) else None for name, value in record.items()}

    def _keep_best(self) -> None:
        weights = self.network.state_dict()
        self.best = {name: tensor.detach().clone() for name, tensor in weights.items()}
        if self.folder is not None and self.hardware.is_first:
            self.folder.save_weights(self.best)

    def _next_epoch(self) -> None:
        config, course = self.config, self.course
        stale = course.epoch - course.improved
        since = course.epoch - max(course.improved, course.lowered)
        if config.schedule == "plateau" and since >= config.plateau_epochs:
            course.plateau *= config.plateau_factor
            course.lowered = course.epoch
        out_of_patience = config.patience is not None and stale >= config.patience
        course.finished = out_of_patience or course.epoch == self.epochs
        course.epoch += 1
        course.batches = 0
        course.seconds = 0.0
        course.totals = Totals()


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in record.items() if value is not None}
