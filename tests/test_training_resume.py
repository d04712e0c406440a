"""Killed, interrupted and resumed: the run ends as one that was never stopped."""

import random
import signal
import threading
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy
import pytest
import torch

import training_child
from fastlstm.config import from_mapping, to_mapping
from fastlstm.training import (
    BatchesDone,
    EpochDone,
    Event,
    Interrupted,
    RunFolder,
    RunFolderError,
    Started,
    TrainingError,
    fit,
    generators,
)
from fastlstm.training.folder import CHECKPOINT
from training_cases import (
    PROCESSES,
    Clouds,
    assert_same_weights,
    make_clouds,
    make_config,
    make_objective,
    weights_of,
)


def start_child(folder: Path, kill: int = 0) -> BaseProcess:
    """A training in another process, which has begun."""
    begins = PROCESSES.Event()
    process = PROCESSES.Process(target=training_child.train, args=(folder, kill, begins))
    process.start()
    assert begins.wait(120)
    return process


def finish_child(folder: Path) -> None:
    process = start_child(folder)
    process.join(120)
    assert process.exitcode == 0


def assert_same_runs(one: Path, other: Path) -> None:
    runs = [RunFolder.open(folder) for folder in (one, other)]
    assert_same_weights(runs[0].read_weights(), runs[1].read_weights())
    tensors, states = zip(*(run.read_checkpoint() or ({}, {}) for run in runs), strict=True)
    assert_same_weights(*tensors)
    assert any(name.startswith("optimizer.0.exp_avg") for name in tensors[0])
    lines = [run.read_metrics() for run in runs]
    for line in (*lines[0], *lines[1]):
        assert line.pop("seconds") > 0
    assert len(lines[0]) == 6
    assert lines[0] == lines[1]
    assert states[0]["course"]["best_epoch"] == states[1]["course"]["best_epoch"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish_child(folder)
    return folder


def test_killed_at_random_moments(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    chance = random.Random()
    killed = 0
    for _ in range(8):
        process = start_child(folder)
        # All of the training takes about 0.3 s.
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.join(120)
        killed += process.exitcode == -signal.SIGKILL
    finish_child(folder)
    assert killed
    assert_same_runs(whole, folder)


def test_killed_in_the_middle_of_a_write(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    # Write 1 of a new run is of config.json, of a resumed one of metrics.jsonl. In an epoch: 4
    # checkpoints, the weights, the metrics, a checkpoint.
    for kill in (4, 6, 5, 9, 8):
        process = start_child(folder, kill)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        assert list(folder.glob(".*.partial"))
    finish_child(folder)
    assert_same_runs(whole, folder)
    assert not list(folder.glob(".*.partial"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    train, validation = make_clouds(75), make_clouds(33, 1)
    config = make_config(bucket=False)

    def interrupt(event: Event) -> None:
        if isinstance(event, BatchesDone) and (event.epoch, event.examples) == (2, 30):
            signal.raise_signal(number)

    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    folder = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(Interrupted) as interrupted:
        fit(make_objective(), train, validation, config, folder, on_event=interrupt)
    assert str(interrupted.value) == (
        f"interrupted in epoch 2 after 3 of 8 batches; saved in {tmp_path / 'run'}: "
        "resume goes on from there"
    )
    assert isinstance(interrupted.value, KeyboardInterrupt)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers

    events: list[Event] = []
    # Another place to run, and saving at other times, is allowed.
    config = replace(config, checkpoint_seconds=1.0, device="auto", threads=None)
    objective, folder = make_objective(), RunFolder.open(tmp_path / "run")
    fit(objective, train, validation, config, folder, resume=True, on_event=events.append)
    assert events[0] == Started(3, 75, objective.metric, 2, 30)


def test_interrupted_after_every_update_and_epoch(tmp_path: Path) -> None:
    config = make_config(epochs=2)
    train, validation = make_clouds(35), make_clouds(33, 1)
    objective = make_objective(dropout=0.3)
    history = fit(objective, train, validation, config)
    expected = weights_of(objective)
    place = 0
    while True:
        seen = 0

        def interrupt(event: Event) -> None:
            nonlocal seen
            if not isinstance(event, Started):
                seen += 1
            if seen == place + 1:  # noqa: B023  (called within this turn)
                signal.raise_signal(signal.SIGINT)

        folder = RunFolder.create(tmp_path / str(place), {})
        objective = make_objective(dropout=0.3)
        try:
            fit(objective, train, validation, config, folder, on_event=interrupt)
        except Interrupted:
            objective = make_objective(dropout=0.3)
            resumed = fit(objective, train, validation, config, folder, resume=True)
        else:
            break
        assert_same_weights(weights_of(objective), expected)
        without = [[{**line, "seconds": 0} for line in each.records] for each in (history, resumed)]
        assert without[0] == without[1]
        place += 1
    # 4 batches and the end of the first epoch, and 4 of the second; after its end nothing is left.
    assert place == 9


def test_without_a_folder_the_message_says_so() -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, BatchesDone):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as interrupted:
        fit(make_objective(), make_clouds(20), None, make_config(), on_event=interrupt)
    expected = "interrupted in epoch 1 after 1 of 2 batches; nothing is saved, as there is no "
    assert str(interrupted.value) == expected + "run folder"


def test_the_second_signal_ends_at_once() -> None:
    class Slow(Clouds):
        def batch(self, indices):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("reached")

    clouds = make_clouds(20)
    slow = Slow(clouds.inputs, clouds.labels, clouds.sizes)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        fit(make_objective(), slow, None, make_config())
    assert not isinstance(interrupted.value, Interrupted)


def test_in_another_thread_signals_are_left_alone() -> None:
    found = []

    def work() -> None:
        def look(event: Event) -> None:
            found.append(signal.getsignal(signal.SIGINT))

        fit(make_objective(), make_clouds(20), None, make_config(epochs=1), on_event=look)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert set(found) == {before}


def test_resuming_a_finished_run_trains_no_more(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    train, validation, config = make_clouds(35), make_clouds(33, 1), make_config()
    objective = make_objective()
    history = fit(objective, train, validation, config, folder)
    events: list[Event] = []
    again = make_objective()
    assert fit(again, train, validation, config, folder, resume=True, on_event=events.append) == (
        history
    )
    assert [type(event) for event in events] == [Started]
    assert_same_weights(weights_of(again), weights_of(objective))


def test_a_run_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    (tmp_path / "run" / "metrics.jsonl").write_text('{"epoch": 1}\n')
    train, config = make_clouds(35), make_config(epochs=1)

    def lines(event: Event) -> None:
        if isinstance(event, Started):
            assert folder.read_metrics() == []

    fit(make_objective(), train, None, config, folder, resume=True, on_event=lines)
    assert [line["epoch"] for line in folder.read_metrics()] == [1]


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    folder = RunFolder.create(path, {})
    train, config = make_clouds(35), make_config(epochs=1)
    fit(make_objective(), train, None, config, folder)

    def refused(objective=None, train=train, config=config, folder=folder) -> str:
        with pytest.raises((RunFolderError, TrainingError)) as error:
            fit(objective or make_objective(), train, None, config, folder, resume=True)
        return str(error.value)

    assert refused(config=replace(config, epochs=9)) == (
        f"cannot resume {path} with epochs 9: it was started with 1"
    )
    assert refused(train=make_clouds(36)) == (
        f"cannot resume {path} with 36 training examples: it was started with 35"
    )
    assert refused(folder=None) == "resume is True: expected the folder of the run with it"
    objective = make_objective()
    objective.network.head = torch.nn.Linear(5, 3)
    assert refused(objective) == (
        f"{path / CHECKPOINT} does not fit the network: head.bias is (2,), expected (3,)"
    )
    content = (path / CHECKPOINT).read_bytes()
    (path / CHECKPOINT).write_bytes(content[:100])
    assert refused().startswith(f"{path / CHECKPOINT} is damaged: ")


def test_checkpoints_are_as_frequent_as_asked(tmp_path: Path, monkeypatch) -> None:
    counts = {}
    for seconds in (0.0, 1000.0):
        folder = RunFolder.create(tmp_path / str(seconds), {})
        saved = []
        save = folder.save_checkpoint
        monkeypatch.setattr(
            folder,
            "save_checkpoint",
            lambda *a, save=save, saved=saved: (saved.append(1), save(*a)),
        )
        config = make_config(epochs=2, checkpoint_seconds=seconds)
        fit(make_objective(), make_clouds(35), None, config, folder)
        counts[seconds] = len(saved)
    # After each of 4 batches and each epoch; or at the end alone.
    assert counts == {0.0: 10, 1000.0: 1}


def draw() -> list[float]:
    numbers = [random.gauss(0, 1), random.random(), *numpy.random.randn(3)]
    return [*numbers, *torch.randn(3).tolist()]


@pytest.mark.parametrize("drawn", [0, 1])
def test_generators_come_back(drawn: int) -> None:
    cpu = torch.device("cpu")
    random.seed(1)
    numpy.random.seed(1)
    for _ in range(drawn):  # the second half of a pair of normal numbers is state as well
        random.gauss(0, 1)
        numpy.random.randn()
    state = generators.get_state(cpu)
    expected = draw()
    draw()
    generators.set_state(state, cpu)
    assert draw() == expected
    generators.set_state(state, cpu)
    with generators.seeded(3, cpu):
        inside = (random.random(), numpy.random.rand(), float(torch.rand(())))
    with generators.seeded(3, cpu):
        assert inside == (random.random(), numpy.random.rand(), float(torch.rand(())))
    assert torch.equal(generators.get_state(cpu), state)


def test_fit_leaves_the_generators_and_threads_alone() -> None:
    cpu = torch.device("cpu")
    objective = make_objective(dropout=0.2)
    before, threads = generators.get_state(cpu), torch.get_num_threads()
    seen = []

    def look(event: Event) -> None:
        seen.append(torch.get_num_threads())

    config = make_config(epochs=1, threads=threads + 1)
    fit(objective, make_clouds(20), None, config, on_event=look)
    assert set(seen) == {threads + 1}
    assert torch.get_num_threads() == threads
    assert torch.equal(generators.get_state(cpu), before)


def test_the_seed_decides() -> None:
    weights = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(weights))  # of no influence
        objective = make_objective(dropout=0.3)
        torch.rand(len(weights))
        fit(objective, make_clouds(35), None, make_config(epochs=1, seed=seed))
        weights.append(weights_of(objective))
    assert_same_weights(weights[0], weights[1])
    assert not torch.equal(weights[0]["head.weight"], weights[2]["head.weight"])


def test_the_config_is_a_mapping_and_back() -> None:
    config = make_config(betas=(0.8, 0.9), trackers=("tensorboard",))
    assert from_mapping(type(config), to_mapping(config), "here") == config


def test_epoch_events_carry_the_lines_of_the_file(tmp_path: Path) -> None:
    events: list[Event] = []
    folder = RunFolder.create(tmp_path / "run", {"a": 1})
    history = fit(
        make_objective(), make_clouds(35), None, make_config(), folder, on_event=events.append
    )
    records = [event.record for event in events if isinstance(event, EpochDone)]
    assert records == history.records == folder.read_metrics()
    assert RunFolder.open(tmp_path / "run").config == {"a": 1}
