"""A training in a process of its own, for tests that kill it."""

import os
import random
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy

from fastlstm.training import RunFolder, fit, folder
from training_cases import Batch, Clouds, make_clouds, make_config, make_objective


class Noisy(Clouds):
    """With noise from NumPy's and Python's generators, whose state must come back too."""

    def batch(self, indices: list[int]) -> Batch:
        batch = super().batch(indices)
        noise = float(numpy.random.randn() + random.gauss(0.0, 1.0))
        return batch._replace(inputs=batch.inputs + 0.1 * noise)


def die_in_a_write(count: int) -> None:
    """Be killed in the middle of the write number `count`, with half of the file on the disk."""
    left = [count]
    write = folder.write_atomically

    def half(path: Path, content: bytes) -> None:
        left[0] -= 1
        if left[0] == 0:
            path.with_name(f".{path.name}.partial").write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, content)

    folder.write_atomically = half


def train(path: Path, kill: int, begins: Event) -> None:
    """Begin or resume the run in `path`; be killed in write number `kill`, where it is not 0."""
    # What a killed process wrote, the system keeps: the disk's slowness adds nothing here.
    os.fsync = lambda descriptor: None
    if kill:
        die_in_a_write(kill)
    clouds = make_clouds(75)
    objective = make_objective(dropout=0.3)
    exists = (path / folder.CONFIG).exists()
    run = RunFolder.open(path) if exists else RunFolder.create(path, {"name": "kill"})
    config = make_config(epochs=6, checkpoint_seconds=0, accumulate=2, schedule="plateau")
    examples = Noisy(clouds.inputs, clouds.labels, clouds.sizes)
    begins.set()
    fit(objective, examples, make_clouds(33, 1), config, run, resume=exists)
