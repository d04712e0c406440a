"""What `fastlstm info` shows: versions, kernels, threads, devices, the data folder."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch
from rich.console import Console
from rich.table import Table

import fastlstm
from fastlstm import _engine
from fastlstm.bench import cores

# The ones that decide what a run computes, or whether a command works.
PACKAGES = ("torch", "numpy", "accelerate", "scikit-learn", "pyarrow", "tokenizers", "optuna")
DATA_FOLDER_VARIABLE = "FASTLSTM_DATA"


def show(console: Console) -> None:
    """Print a line for each thing that a report of a fault should have."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts().items():
        table.add_row(name, value)
    console.print(table, highlight=False, markup=False)


def facts() -> dict[str, str]:
    """What is shown, by name."""
    extra = [name for name, there in _engine.features().items() if there]
    found = {
        "fastlstm": fastlstm.__version__,
        **{name: _version(name) for name in PACKAGES},
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "back end on the CPU": _backend("cpu"),
        "instruction set": " + ".join([_engine.isa(), *extra]),
        "cores": f"{cores()}, of which torch uses {torch.get_num_threads()}",
        "GPU": _gpus(),
        **_on_gpu(),
        "data": os.environ.get(DATA_FOLDER_VARIABLE) or "downloaded where they are needed",
    }
    return found


def _on_gpu() -> dict[str, str]:
    if not torch.cuda.is_available():
        return {}
    with_norm = _backend("cuda", layer_norm=True)
    return {
        "back end on the GPU": f"{_backend('cuda')}; with layer norm {with_norm}",
        "CUDA": str(torch.version.cuda or torch.version.hip),
        "cuDNN": str(torch.backends.cudnn.version()),
        "triton": _version("triton"),
    }


def _backend(device: str, layer_norm: bool = False) -> str:
    """The name of the back end that serves a layer without gradients."""
    layer = fastlstm.LSTM(8, 8, device=device, layer_norm=layer_norm)
    with torch.no_grad():
        explanation = fastlstm.explain(layer, torch.zeros(2, 1, 8, device=device))
    return explanation.choices[0].backend


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _gpus() -> str:
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    if torch.backends.mps.is_available():
        return "Apple (mps)"
    return "none"
