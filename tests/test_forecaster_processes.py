"""Two processes train a forecaster as one does."""

import socket
from pathlib import Path

import torch
from safetensors.torch import load_file

import forecasting_launched
from fastlstm.tasks import Forecaster
from forecasting_cases import small, waves
from training_cases import PROCESSES


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        PROCESSES.Process(target=forecasting_launched.start, args=(tmp_path, rank, port))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        # One that waits for one that failed would wait for long.
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]

    expected = small(dropout=0.0).fit(waves())
    loaded = Forecaster.load(tmp_path / "run")
    weights = [load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1)]
    for name, value in expected.network_.state_dict().items():
        torch.testing.assert_close(weights[0][name], value, rtol=1e-4, atol=1e-5)
        assert torch.equal(weights[0][name], weights[1][name])
        assert torch.equal(weights[0][name], loaded.network_.state_dict()[name])
    found, wanted = loaded.predict(), expected.predict()
    assert abs(found["LSTM"] - wanted["LSTM"]).max() < 1e-3
