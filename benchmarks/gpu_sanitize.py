"""Every back end under ``compute-sanitizer``: memcheck and racecheck, on small shapes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu_children import ROOT, WORKER, environment
from benchmarks.gpu_plan import Item, Job, sanitized

BINARY = "compute-sanitizer"
TOOLS = {
    # Libraries ask CUDA for what may not be there; where a call of ours fails PyTorch raises.
    "memcheck": ("--report-api-errors", "no"),
    "racecheck": (),
}
ERRORS_FOUND = 86
"""The exit status with which the sanitizer says so."""
SHOWN = 12
"""Lines of what it found."""


class Finding(NamedTuple):
    """What a tool says of a back end."""

    tool: str
    contender: str
    clean: bool
    lines: tuple[str, ...]

    def __str__(self) -> str:
        first = f"{self.tool}, {self.contender}: {'clean' if self.clean else 'NOT CLEAN'}"
        return "\n".join([first, *(f"    {line}" for line in self.lines)])


def sanitize(
    contenders: Sequence[str],
    device: str,
    deadline: float,
    say: Callable[[str], None],
    worker: Sequence[str] = WORKER,
) -> list[Finding] | None:
    """Run all small shapes of each back end under each tool; None where there is no sanitizer.

    Args:
        contenders: the names of the back ends.
        device: what they run on.
        deadline: when to stop, as ``time.monotonic`` has it.
        say: is told of each finding as soon as it is made.
        worker: the command that checks a job.
    """
    binary = shutil.which(BINARY)
    if binary is None:
        return None
    found: list[Finding] = []
    runs = [(tool, contender) for contender in contenders for tool in TOOLS]
    for index, (tool, contender) in enumerate(runs):
        left = deadline - time.monotonic()
        # Twice its share: the first tool of a back end also waits for the compiler.
        patience = min(left, 2 * left / (len(runs) - index))
        if patience <= 0:
            found.append(Finding(tool, contender, False, ("not run, the time is over",)))
        else:
            found.append(_run(binary, tool, contender, device, patience, worker))
        say(str(found[-1]))
    return found


def _run(
    binary: str, tool: str, contender: str, device: str, limit: float, worker: Sequence[str]
) -> Finding:
    job = Job("check", device, tuple(Item(one, (contender,)) for one in sanitized()))
    with tempfile.TemporaryDirectory() as folder:
        path, log, errors = (Path(folder) / name for name in ("job.json", "log", "errors"))
        path.write_text(job.to_json(), encoding="utf-8")
        command = [binary, "--tool", tool, "--error-exitcode", str(ERRORS_FOUND)]
        command += ["--log-file", str(log), *TOOLS[tool], *worker, str(path)]
        # Each tensor by itself, so that what is beyond one is nobody's.
        variables = {**environment(job), "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        with errors.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=variables,
                cwd=ROOT,
                start_new_session=True,
            )
            try:
                printed, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                # A driver may keep a process whose kernel does not end.
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=30)
                return Finding(tool, contender, False, (f"HUNG: killed after {limit:.0f} s",))
        lines = _lines_of(log)
        notes = [text.strip()[:300] for text in printed.splitlines() if '"WRONG' in text]
        notes += [text.strip()[:300] for text in printed.splitlines() if '"CRASHED' in text]
        if not any('"kind": "check"' in t and '"note": ""' in t for t in printed.splitlines()):
            notes.append("nothing was checked")
        if process.returncode not in (0, ERRORS_FOUND):
            notes.append(f"the process ended with status {process.returncode}")
            notes += _lines_of(errors)[-3:]
        clean = process.returncode == 0 and not notes
        return Finding(tool, contender, clean, tuple(notes + lines[:SHOWN] + lines[SHOWN:][-1:]))


def _lines_of(path: Path) -> list[str]:
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()
