"""A function in two processes at once, as a launcher of trainings starts them."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch

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
