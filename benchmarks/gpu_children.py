"""Processes that may hang or crash: what they print, what they were at, and the rest in another.

A worker says what it begins (`gpu_worker.py`). Where it then prints nothing for too long it is
killed, and where it dies it is left; either way that contender gets a record that says so, and
another worker goes on with what is left.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_plan import LOOP, Item, Job, Record

ROOT = Path(__file__).parent.parent
WORKER = (sys.executable, "-m", "benchmarks.gpu_worker")

SLOW = {LOOP: 3.0}
"""A compiler takes minutes for an unrolled loop; to wait as long for all would be too much."""

MOST_HANGS = 2
"""After so many of one contender it is left out of everything that follows."""

Line = dict[str, Any]


class Printed:
    """What a process prints, as it prints it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as file:
            for text in file:
                self._queue.put(text)
        self._queue.put(None)

    def lines(self, patience_for: Callable[[str], float], deadline: float) -> Iterator[Line | None]:
        """The lines of JSON; None, and no more, where nothing comes for too long."""
        contender = ""
        while True:
            patience = min(patience_for(contender), deadline - time.monotonic())
            try:
                text = self._queue.get(timeout=max(0.0, patience))
            except queue.Empty:
                yield None
                return
            if text is None:
                return
            if text.startswith("{"):
                line = json.loads(text)
                contender = line.get("contender", contender)
                yield line

    def end(self) -> None:
        """Kill the process where it is still there, and whatever it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        # A driver may keep a process whose kernel does not end; the rest does not wait for that.
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=30)
        self._reader.join(timeout=5)


class Children:
    """Runs jobs in processes.

    Args:
        device: what the workers run on.
        limit: the seconds for which one may print nothing; of ``SLOW`` ones a multiple.
        deadline: when to stop, as ``time.monotonic`` has it.
        keep: is given every line that is not about the run itself.
        command: the worker; the file of its job is added.
        threads: of each worker on the CPU.
    """

    def __init__(
        self,
        device: str,
        limit: float,
        deadline: float,
        keep: Callable[[Line], None],
        command: Sequence[str] = WORKER,
        threads: int = 0,
    ) -> None:
        self._device, self._limit, self._deadline = device, limit, deadline
        self._keep, self._command, self._threads = keep, command, threads
        self._hangs: Counter[str] = Counter()
        self._lock = threading.Lock()

    def check(self, items: Sequence[Item], workers: int = 1) -> None:
        """Check all items, in so many processes at a time."""
        shares = [list(items[start::workers]) for start in range(workers)]
        with ThreadPoolExecutor(workers) as pool:
            jobs = [Job("check", self._device, tuple(share)) for share in shares if share]
            for done in [pool.submit(self._run, job) for job in jobs]:
                done.result()

    def time(self, items: Sequence[Item], samples: int) -> None:
        """Measure the device's rates, then time all items, one process after another."""
        self._run(Job("time", self._device, tuple(items), samples, ceilings=True))

    def _run(self, job: Job) -> None:
        while (job.items or job.ceilings) and time.monotonic() < self._deadline:
            left = self._run_once(job)
            left = [kept for item in left if (kept := self._without_hanging(item)).contenders]
            job = replace(job, items=tuple(left), ceilings=False)

    def _without_hanging(self, item: Item) -> Item:
        """An item without those that have hung too often; each gets a record that says so."""
        out = [name for name in item.contenders if self._hangs[name] >= MOST_HANGS]
        for name in out:
            self._keep_record(_record("check", item, name, "left out: it hung elsewhere"))
        return replace(item, contenders=tuple(n for n in item.contenders if n not in out))

    def _run_once(self, job: Job) -> list[Item]:
        """One process; what it has left undone."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "job.json"
            path.write_text(job.to_json(), encoding="utf-8")
            errors = Path(folder) / "errors"
            with errors.open("w", encoding="utf-8") as file:
                process = subprocess.Popen(
                    [*self._command, str(path)],
                    stdout=subprocess.PIPE,
                    stderr=file,
                    text=True,
                    encoding="utf-8",
                    env=environment(job, self._threads),
                    cwd=ROOT,
                    start_new_session=True,  # so that what it starts can be ended with it
                )
            printed = Printed(process)
            try:
                return self._follow(printed, job, errors)
            finally:
                printed.end()

    def _patience(self, contender: str) -> float:
        return self._limit * SLOW.get(contender, 1.0)

    def _follow(self, printed: Printed, job: Job, errors: Path) -> list[Item]:
        ended, at, contender, done = -1, -1, "", set()
        for line in printed.lines(self._patience, self._deadline):
            if line is None:
                break
            if "begin" in line:
                at, contender = line["begin"], line["contender"]
            elif "done" in line:  # it may leave others that keep its output open
                return []
            elif "end" in line:
                ended = line["end"]
                done.clear()
            else:
                if "record" in line and line["record"]["contender"]:
                    done.add(line["record"]["contender"])
                self._keep(line)
        else:
            status = printed.process.wait()
            if status == 0:
                return []
            note = f"CRASHED: the process ended with status {status}{_last_line(errors)}"
            return self._rest(job, ended, at, contender, done, note)
        if time.monotonic() >= self._deadline:
            return []
        with self._lock:
            self._hangs[contender] += 1
        note = f"HUNG: nothing for {self._patience(contender):.0f} s"
        return self._rest(job, ended, at, contender, done, note)

    def _rest(
        self, job: Job, ended: int, at: int, contender: str, done: set[str], note: str
    ) -> list[Item]:
        """What is left after the process ended at this contender."""
        if at < 0:  # before its first item: it may do better without the rates
            self._keep({"failure": f"{contender or job.stage}: {note}"})
            return list(job.items) if job.ceilings else []
        item = job.items[at]
        rest = list(job.items[max(at, ended) + 1 :])
        if at <= ended:
            return rest
        if contender not in done:  # it may have said itself what went wrong
            self._keep_record(_record(job.stage, item, contender, note))
        names = tuple(n for n in item.contenders if n != contender and n not in done)
        if names and contender:
            rest.insert(0, replace(item, contenders=names))
        return rest

    def _keep_record(self, record: Record) -> None:
        self._keep({"record": json.loads(record.to_json())})


def environment(job: Job, threads: int = 0) -> dict[str, str]:
    """What a worker's process finds set."""
    found = {**os.environ}
    if job.stage == "check":  # it asks for cuBLAS to be deterministic, which it then is
        found["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    found["TRITON_INTERPRET"] = "1" if job.device == "cpu" else "0"
    # Where Triton has it anyway; but PyTorch's compiler would have a process use another one.
    found.setdefault("TRITON_CACHE_DIR", str(Path.home() / ".triton" / "cache"))
    if threads:
        found["OMP_NUM_THREADS"] = found["MKL_NUM_THREADS"] = str(threads)
    return found


def _record(stage: str, item: Item, contender: str, note: str) -> Record:
    return Record("time" if stage == "time" else "check", item.configuration, contender, note=note)


def _last_line(errors: Path) -> str:
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""
