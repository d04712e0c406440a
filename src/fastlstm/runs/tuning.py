"""Look for better settings, by the validation part alone.

tune.json      the task, where the data are, what is searched: read to go on
trials.log     every trial, as Optuna's journal keeps them
best.toml      the best settings so far, as `train --config` takes them
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.atomic import write_atomically
from fastlstm.config import ConfigError, with_overrides
from fastlstm.runs.description import Description, read_description, write_description
from fastlstm.runs.errors import RunError
from fastlstm.runs.labelled import Labelled
from fastlstm.runs.outcome import deciding_metric
from fastlstm.runs.run import check_source
from fastlstm.runs.space import Choice, Space, Whole, space_from, space_to_json
from fastlstm.runs.task import DataConfig, Parts, Task
from fastlstm.runs.toml import settings_as_toml
from fastlstm.tasks.classifier import FEWEST_HELD_OUT
from fastlstm.training import (
    EpochDone,
    Event,
    Interrupted,
    Metric,
    RunFolderError,
    TrainingError,
    check_hardware,
    check_output,
)

if TYPE_CHECKING:
    import optuna

TUNE = "tune.json"
TRIALS = "trials.log"
BEST = "best.toml"


@dataclass(frozen=True)
class Trial:
    """One training with settings that were tried.

    Attributes:
        number: from 1.
        values: of the settings that are searched.
        metric: the name of what decides.
        value: the best of its epochs; None where the training failed or was given up.
        state: "done", "pruned" (no better than others so far) or "failed".
        is_best: no trial before was better.
    """

    number: int
    values: Mapping[str, Any]
    metric: str
    value: float | None
    state: str
    is_best: bool


class Tuning:
    """A search on the disk; `create` begins one and `open` comes back to it.

    Attributes:
        path: its folder.
        task: what it is about.
        data: where the data are.
        settings: those that each trial begins with.
        space: what is searched, by the name of the setting.
    """

    def __init__(
        self,
        path: Path,
        task: Task,
        data: DataConfig,
        settings: Any,
        space: Mapping[str, Space],
    ) -> None:
        self.path = path
        self.task = task
        self.data = data
        self.settings = settings
        self.space = space

    @classmethod
    def open(cls, path: str | Path) -> Tuning:
        """Come back to a search.

        Raises:
            RunFolderError: the folder or its `tune.json` is missing or damaged.
        """
        path = Path(path)
        found = read_description(path / TUNE)
        try:
            space = {key: space_from(value) for key, value in found.others["space"].items()}
        except ConfigError as error:
            raise RunFolderError(str(error)) from error
        except (KeyError, AttributeError, TypeError) as error:
            raise RunFolderError(f"{path / TUNE} is damaged: {error!r}") from error
        return cls(path, found.task, found.data, found.settings, space)

    def check(self) -> None:
        """Raise, before anything slow is done, unless the search can begin.

        Raises:
            RunFolderError: the folder is not new or empty.
            ConfigError: a setting to be searched does not exist, or takes no such value.
            RunError: there is no such source.
            TrainingError: the device is not there, or does not know the precision.
        """
        check_hardware(self.settings.training)
        check_output(self.path)
        check_source(self.task, self.data)
        for key, space in self.space.items():
            ends = space.values if isinstance(space, Choice) else (space.low, space.high)
            for end in ends:
                with_overrides(self.settings, [f"{key}={end}"])
        settings_as_toml(self.settings)

    def save(self) -> None:
        """Begin the folder with `tune.json`.

        Raises:
            RunFolderError: the disk refuses.
        """
        space = {key: space_to_json(space) for key, space in self.space.items()}
        found = Description(self.task, self.data, self.settings, {"space": space})
        write_description(self.path / TUNE, found)

    def search(
        self,
        parts: Parts,
        trials: int,
        on_trial: Callable[[Trial], None],
        on_event: Callable[[Event], None] | None = None,
    ) -> Any:
        """Try settings until there are so many trials in all; those of before count.

        Args:
            parts: what the task reads; the test part is not touched.
            trials: how many there will be.
            on_trial: called after each.
            on_event: called with what happens in each training.

        Returns:
            The best settings, which also stand in `best.toml`.

        Raises:
            RunError: nothing is validated, or no trial came to an end.
            TrainingError: the device is not there, or does not know the precision.
            Interrupted: a signal came; the running trial is lost, and those before are kept.
        """
        import optuna

        # Every trial would fail alike, as if its settings were bad.
        check_hardware(self.settings.training)
        first = with_validation(self.settings, parts)
        if not (self.path / TUNE).exists():
            self.save()
        study = self._study()
        finished = [trial for trial in study.trials if trial.state.is_finished()]
        if not study.trials:
            study.enqueue_trial(self._defaults(), skip_if_exists=True)
        for number in range(len(finished) + 1, trials + 1):
            trial = study.ask()
            state = optuna.trial.TrialState.FAIL
            gain, metric = None, None
            try:
                gain, metric = self._train(trial, first, parts, on_event)
                state = optuna.trial.TrialState.COMPLETE
            except optuna.TrialPruned:
                state = optuna.trial.TrialState.PRUNED
            except TrainingError:
                pass  # it diverged, as some settings do
            except Interrupted as error:
                raise Interrupted(f"interrupted in trial {number} of {trials}") from error
            finally:
                study.tell(trial, gain, state=state)
            is_best = gain is not None and study.best_trial.number == trial.number
            if is_best:
                self._save_best(study)
            name = {"COMPLETE": "done", "PRUNED": "pruned"}.get(state.name, "failed")
            value = gain if metric is None or metric.higher_is_better else -(gain or 0.0)
            shown = "" if metric is None else metric.name
            on_trial(Trial(number, trial.params, shown, value, name, is_best))
        return self._best(study)

    def _study(self) -> optuna.Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(JournalFileBackend(str(self.path / TRIALS)))
        study = optuna.create_study(
            storage=storage, study_name="fastlstm", direction="maximize", load_if_exists=True
        )
        # Another seed each time it goes on, or the same settings would be drawn again.
        seed = self.settings.training.seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
        return study

    def _defaults(self) -> dict[str, Any]:
        """The shipped settings, for the first trial, where the space has them."""
        found = {}
        for key, space in self.space.items():
            value: Any = self.settings
            for part in key.split("."):
                value = getattr(value, part, None)
            if isinstance(space, Choice):
                value = str(value).lower() if isinstance(value, bool) else str(value)
                inside = value in space.values
            else:
                inside = isinstance(value, (int, float)) and space.low <= value <= space.high
            if inside:
                found[key] = value
        return found

    def _train(
        self,
        trial: optuna.Trial,
        first: Any,
        parts: Parts,
        on_event: Callable[[Event], None] | None,
    ) -> tuple[float, Metric]:
        """Train with `first` and a trial's settings: the value of its best epoch, and of what."""
        import optuna

        assignments = [f"{key}={_suggest(trial, key, s)}" for key, s in self.space.items()]
        settings = with_overrides(first, assignments)
        best, metric = -math.inf, None

        def watch(event: Event) -> None:
            nonlocal best, metric
            if on_event is not None:
                on_event(event)
            if isinstance(event, EpochDone):
                metric = self._metric(event.record)
                value = event.record[f"validation_{metric.name}"]
                if value is not None:
                    best = max(best, value if metric.higher_is_better else -value)
                trial.report(best, event.epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

        self.task.fit(settings, parts, on_event=watch)
        assert metric is not None  # an epoch has ended
        if math.isinf(best):
            raise TrainingError(f"{metric.name} was not finite in any epoch")
        return best, metric

    def _metric(self, record: Mapping[str, Any]) -> Metric:
        metric = deciding_metric(record, self.task.metrics)
        if metric is None:
            raise RunError(
                "nothing is validated: expected a validation part, or a share of the training "
                "part for it"
            )
        return metric

    def _best(self, study: optuna.Study) -> Any:
        if not study.get_trials(states=_complete()):
            raise RunError("no trial came to an end: expected more trials, or another space")
        found = [f"{key}={value}" for key, value in study.best_trial.params.items()]
        return with_overrides(self.settings, found)

    def _save_best(self, study: optuna.Study) -> None:
        try:
            write_atomically(self.path / BEST, settings_as_toml(self._best(study)))
        except OSError as error:
            raise RunFolderError(f"cannot write {self.path}: {error.strerror}") from error


def with_validation(settings: Any, parts: Parts) -> Any:
    """The settings of a trial: of few examples more are held out, so that trials can be judged.

    Raises:
        RunError: they are too few.
    """
    count = len(parts.train)
    given = parts.validation is not None or not isinstance(parts.train, Labelled)
    if given or not settings.validation or round(count * settings.validation) >= FEWEST_HELD_OUT:
        return settings
    if count < 2 * FEWEST_HELD_OUT:
        raise RunError(
            f"{count} training {parts.noun} are too few to judge trials by a part of them: "
            f"expected {2 * FEWEST_HELD_OUT}, or a file for the validation"
        )
    return with_overrides(settings, [f"validation={FEWEST_HELD_OUT / count}"])


def _complete() -> Any:
    import optuna

    return (optuna.trial.TrialState.COMPLETE,)


def _suggest(trial: optuna.Trial, key: str, space: Space) -> Any:
    if isinstance(space, Choice):
        return trial.suggest_categorical(key, space.values)
    if isinstance(space, Whole):
        return trial.suggest_int(key, space.low, space.high, log=space.log)
    return trial.suggest_float(key, space.low, space.high, log=space.log)
