"""A function in two processes at once, as a launcher of trainings starts them."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from training_cases import PROCESSES

Part = Callable[[Path, int], None]


def run_in_two(part: Part, folder: Path) -> None:
    """Call `part(folder, rank)` in two processes that know of each other; both must succeed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        PROCESSES.Process(target=_start, args=(part, folder, rank, port)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        # One that waits for one that failed would wait for long.
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]


def _start(part: Part, folder: Path, rank: int, port: int) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    os.environ.update({name: str(value) for name, value in {**place, **address}.items()})
    torch.use_deterministic_algorithms(True)
    part(folder, rank)


def write_fitted(estimator: Any, figures: Any, folder: Path, name: str, rank: int) -> None:
    """Write what a process ends with, for `read_as_one`."""
    lines = [{**line, "seconds": 0.0} for line in estimator.history_.records]
    found = {"history": lines, "evaluate": figures}
    (folder / f"{name}-{rank}.json").write_text(json.dumps(found))
    save_file(estimator.network_.state_dict(), folder / f"{name}-{rank}.safetensors")


def read_as_one(alone: Any, folder: Path, name: str) -> Any:
    """Hold what two processes ended with to each other and to one alone; gives their figures."""
    found = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0] == found[1]
    assert len(found[0]["history"]) == len(alone.history_.records)
    for together, expected in zip(found[0]["history"], alone.history_.records, strict=True):
        assert together == pytest.approx({**expected, "seconds": 0.0}, rel=1e-6)
    weights = [load_file(folder / f"{name}-{rank}.safetensors") for rank in (0, 1)]
    for key, value in alone.network_.state_dict().items():
        torch.testing.assert_close(weights[0][key], value, rtol=1e-5, atol=1e-6)
        assert torch.equal(weights[0][key], weights[1][key])
    return found[0]["evaluate"]
