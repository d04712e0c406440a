"""Scripts that compile kernels: beside the tests, in processes where no interpreter is on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def lines_of(script: str, cache: Path, *arguments: str, seconds: int = 600) -> list[Any]:
    """What a script beside this file prints, JSON in each line; compiled kernels go to `cache`."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
