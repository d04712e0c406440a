"""What holds for every test: one seed, unwritten memory is NaN; and how the command is called."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

if torch.cuda.is_available():
    # Without it cuBLAS is not deterministic, and PyTorch refuses its products below.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
else:
    # Read when Triton is first imported, which PyTorch's compiler does too.
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _seeded_and_poisoned() -> Iterator[None]:
    """Seed the generators; have ``torch.empty`` hand out NaN, so that a missed write shows."""
    torch.manual_seed(20)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Call the command as a shell does, in an empty folder: status, stdout, stderr."""
    from fastlstm.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fastlstm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        printed = capsys.readouterr()
        assert isinstance(exit_info.value.code, int)
        return exit_info.value.code, printed.out, printed.err

    return call
