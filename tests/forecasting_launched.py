"""A forecaster that several processes train together, in a folder that is given."""

import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from forecasting_cases import small, waves


def start(folder: Path, rank: int, port: int) -> None:
    """Be one of two processes as a launcher starts them, and train."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    os.environ.update({name: str(value) for name, value in {**place, **address}.items()})
    torch.use_deterministic_algorithms(True)
    # Dropout is random in each process.
    forecaster = small(dropout=0.0).fit(waves(), output=folder / "run")
    save_file(forecaster.network_.state_dict(), folder / f"{rank}.safetensors")
