"""Two processes train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import training_launched
from fastlstm.training import RunFolder, TrainingError, evaluate, fit, hardware
from training_cases import make_clouds, make_config, make_objective
from training_launched import SETTINGS, objective_of, settings
from two_processes import run_in_two


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    run_in_two(training_launched.run_all, folder)
    return folder


@pytest.mark.parametrize("name", list(SETTINGS))
def test_two_processes_train_as_one(trained: Path, name: str) -> None:
    check(trained, name)


def test_processes_that_would_train_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Accelerate answers where the only device cannot be shared.
    alone = SimpleNamespace(num_processes=1, device=torch.device("mps"))
    monkeypatch.setattr(hardware, "Accelerator", lambda **settings: alone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = "2 processes were started, and each would train alone on mps: expected device cpu"
    with pytest.raises(TrainingError, match=message):
        fit(make_objective(), make_clouds(5), None, make_config(device="auto"))


@pytest.mark.heavy
@pytest.mark.parametrize("launcher", ["torch.distributed.run", "accelerate.commands.launch"])
def test_launchers_start_it(tmp_path: Path, launcher: str) -> None:
    several = ["--nproc-per-node=2", "--standalone"]
    if launcher.startswith("accelerate"):
        # With --cpu it starts one process, or several by MPI; this is how it starts several itself.
        several = ["--num_processes=2", "--num_machines=1", "--multi_gpu", "--mixed_precision=no"]
        several += ["--dynamo_backend=no", "--num_cpu_threads_per_process=1"]
        several += ["--main_process_port=0"]
    program = str(Path(training_launched.__file__))
    done = subprocess.run(
        [sys.executable, "-m", launcher, *several, program, str(tmp_path), "plain"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    check(tmp_path, "plain")


def check(folder: Path, name: str) -> None:
    """Hold what two processes wrote to what this one computes."""
    objective = objective_of(name)
    validation = make_clouds(33, 1, dtype=torch.float64)
    history = fit(objective, make_clouds(31, dtype=torch.float64), validation, settings(name))
    few = evaluate(objective, make_clouds(3, dtype=torch.float64), settings(name))
    figures = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
    assert figures[0] == figures[1]
    assert figures[0]["best_epoch"] == history.best_epoch
    assert len(figures[0]["history"]) == len(history.records)
    for found, expected in zip(figures[0]["history"], history.records, strict=True):
        expected["seconds"] = 0.0
        assert found["validation_accuracy"] == expected["validation_accuracy"]
        assert found == pytest.approx(expected, rel=1e-9)
    assert figures[0]["evaluate"][objective.metric.name] == history.best_value
    if name == "derived":  # each example counted once, however many processes measured it
        assert [figures[0][which]["count"] for which in ("evaluate", "few")] == [33, 3]
    assert figures[0]["few"] == pytest.approx(few, rel=1e-9)

    weights = [load_file(folder / f"{name}-{rank}.safetensors") for rank in (0, 1)]
    saved = RunFolder.open(folder / name).read_weights()
    for key, value in objective.network.state_dict().items():
        if key != "seen":  # counts forwards, and a share may have had no example
            torch.testing.assert_close(weights[0][key], value, rtol=1e-7, atol=1e-10)
        assert torch.equal(weights[0][key], weights[1][key])
        assert torch.equal(weights[0][key], saved[key])
