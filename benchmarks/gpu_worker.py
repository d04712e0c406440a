"""One process on the device: ``python -m benchmarks.gpu_worker JOB.json``.

It prints a line of JSON for each thing that it finds out, and before it starts anything that could
hang or crash a line that says what: `gpu_children.py` reads them, and ends it where it hangs.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_check, gpu_contenders, gpu_floor, gpu_measure
from benchmarks.gpu_children import ROOT
from benchmarks.gpu_plan import (
    NN_LSTM,
    PLAIN_PARTS,
    SHORT_STEPS,
    STEPS,
    Configuration,
    Item,
    Job,
    Record,
)

CANNOT_GO_ON = 3
"""The exit status where the device answers no more: another process may take over."""

REFUSAL = "cannot serve this call: "
"""Before a back end's own reason, in the error where it is forced."""


def main() -> int:
    job = Job.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    device = torch.device(job.device)
    # PyTorch lets cuDNN round float32 to tf32 unless it is told not to.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    warnings.simplefilter("ignore")  # what this prints is for a program
    if device.type == "cpu":
        repair_interpreter()
    try:
        if job.ceilings:
            ceilings(device)
        for index, item in enumerate(job.items):
            (check if job.stage == "check" else measure)(index, item, job, device)
            emit(end=index)
    except DeviceLostError:
        return CANNOT_GO_ON
    emit(done=len(job.items))
    return 0


def repair_interpreter() -> None:
    """Have the interpreter run all kernels: what NumPy 2.4 broke of Triton 3.6, our tests mend."""
    sys.path.append(str(ROOT / "tests"))
    with suppress(ImportError):
        importlib.import_module("triton_interpreted")


class DeviceLostError(Exception):
    """Whatever is asked of the device from now on fails."""


def emit(**line: Any) -> None:
    print(json.dumps(line, ensure_ascii=False), flush=True)


def record(found: Record) -> None:
    print(f'{{"record": {found.to_json()}}}', flush=True)


def attempt(empty: Callable[[], Record], device: torch.device, call: Callable[[], Any]) -> Any:
    """Call it. Where it fails, ``empty()`` with a note is its record, and the result is None."""
    try:
        return call()
    except Exception as error:  # whatever it is, it is this contender's
        record(replace(empty(), note=failure(error)))
    if device.type == "cuda":
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except Exception as error:
            raise DeviceLostError from error
    return None


def failure(error: Exception) -> str:
    """What is wrong, in one line."""
    text = (str(error).strip().splitlines() or [""])[0]
    if REFUSAL in text:
        return "refused: " + text.partition(REFUSAL)[2]
    return f"CRASHED: {type(error).__name__}: {text}"[:300]


def ceilings(device: torch.device) -> None:
    """The measured rates of the device; the barrier last, as it may hang."""
    clock = gpu_measure.clock_of(device)
    emit(begin=-1, contender="ceilings")
    gpu_measure.wake(device)
    emit(facts=facts(device))
    found = gpu_floor.measure_ceilings(device, clock)
    emit(ceilings=found.to_json())
    emit(begin=-1, contender="barrier")
    try:
        emit(barrier=gpu_floor.measure_barrier(device, clock))
    except Exception as error:
        emit(barrier=None, why=failure(error))


def facts(device: torch.device) -> dict[str, str]:
    """The device and the versions of what runs on it."""
    try:
        import triton

        version = triton.__version__
    except ImportError:
        version = "not installed"
    found = {"PyTorch": torch.__version__, "Triton": version}
    if device.type != "cuda":
        return {"Device": "CPU (a dry run)", **found}
    properties = torch.cuda.get_device_properties(device)
    return {
        "Device": f"{properties.name}, {properties.multi_processor_count} processors, "
        f"{properties.total_memory / 2**30:.0f} GiB",
        "CUDA": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
        **found,
    }


def check(index: int, item: Item, job: Job, device: torch.device) -> None:
    """Each contender against float64."""
    configuration = item.configuration
    emit(begin=index, contender="")
    verdict = attempt(
        lambda: Record("check", configuration), device, lambda: _checker(configuration, device)
    )
    if verdict is None:
        return
    ours = gpu_contenders.own_names(torch.device("cpu"))
    for name in item.contenders:
        emit(begin=index, contender=name)
        empty = Record("check", configuration, name)
        # What our kernels have not written is NaN. cuDNN serves nobody who asks for this.
        torch.use_deterministic_algorithms(name in ours, warn_only=True)
        found = attempt(lambda empty=empty: empty, device, lambda name=name: verdict(name))
        torch.use_deterministic_algorithms(False)
        if found is not None:
            facts = {"tensor": found.tensor}
            record(
                replace(
                    empty,
                    note=found.note,
                    error=found.error,
                    allowed=found.allowed,
                    facts=facts,
                )
            )


def _checker(configuration: Configuration, device: torch.device) -> gpu_check.Check:
    if configuration.part in ("operator", "switches"):
        return gpu_check.OperatorCheck(configuration, device).verdict
    # On the CPU, where float64 is to be computed from the same numbers.
    problem = gpu_contenders.make_problem(configuration, torch.device("cpu"))
    check = gpu_check.LayerCheck(problem, device)
    attempt(lambda: Record("default", configuration), device, lambda: _defaults(problem, device))
    return check.verdict


def _defaults(problem: gpu_contenders.Problem, device: torch.device) -> None:
    """Which back ends serve, at each number of steps that is timed."""
    for steps in {problem.configuration.steps, STEPS, SHORT_STEPS}:
        configuration = replace(problem.configuration, steps=steps)
        longer = problem.input[:1].expand(steps, -1, -1)
        resized = problem._replace(configuration=configuration, input=longer)
        for training in (False, True):
            names = gpu_contenders.plain_choice(resized, device, training)
            record(Record("default", configuration, facts={_mode(training): list(names)}))


def _mode(training: bool) -> str:
    return "training" if training else "inference"


def measure(index: int, item: Item, job: Job, device: torch.device) -> None:
    """Every contender that was right, in turn."""
    configuration = item.configuration
    clock = gpu_measure.clock_of(device)
    emit(begin=index, contender="")
    problem = gpu_contenders.make_problem(configuration, device)
    calls: dict[str, Callable[[], object]] = {}
    seconds: dict[str, float] = {}
    right: gpu_check.Results = {}
    # The peer first: the others are held to its results over all steps.
    for name in sorted(item.contenders, key=lambda name: name != NN_LSTM):
        emit(begin=index, contender=name)
        empty = Record("time", configuration, name)
        made = attempt(
            lambda empty=empty: empty,
            device,
            lambda name=name: _ready(name, problem, device, clock, right),
        )
        if made is not None:
            call, note, taken = made
            if note:
                record(replace(empty, note=note))
            else:
                calls[name], seconds[name] = call, taken
    right.clear()  # they take as much memory as a contender
    samples = gpu_measure.sample_counts(seconds, job.samples)
    gpu_measure.wake(device)
    while calls and not _timed(index, calls, configuration, clock, samples, device):
        pass
    calls.clear()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _timed(
    index: int,
    calls: dict[str, Callable[[], object]],
    configuration: Configuration,
    clock: gpu_measure.Clock,
    samples: dict[str, int],
    device: torch.device,
) -> bool:
    """Time all in turn. Where one fails it is taken out, and the answer is no."""
    turn = ""

    def begin(name: str) -> None:
        nonlocal turn
        turn = name
        emit(begin=index, contender=name)

    figures = attempt(
        lambda: Record("time", configuration, turn),
        device,
        lambda: gpu_measure.alternate(calls, clock, samples, begin),
    )
    if figures is None:
        del calls[turn], samples[turn]
        return False
    for name, (median, quartiles) in figures.items():
        facts = {"samples": samples[name]}
        record(Record("time", configuration, name, median, quartiles, facts=facts))
    return True


def _full_length(configuration: Configuration) -> bool:
    """Whether all steps are compared: not where a switch is on, nor where a batch is packed."""
    return configuration.part in PLAIN_PARTS


def _ready(
    name: str,
    problem: gpu_contenders.Problem,
    device: torch.device,
    clock: gpu_measure.Clock,
    right: gpu_check.Results,
) -> tuple[Callable[[], object], str, float]:
    """A contender's call, warm; what is wrong with all of its steps, or nothing; its seconds.

    The peer's results go into ``right``, to which the others' are held.
    """
    configuration = problem.configuration
    contender = gpu_contenders.make(name, problem, device, packed=True)
    call = contender.train if configuration.training else contender.infer
    if _full_length(configuration) and (right or name == NN_LSTM):
        results = contender.trained() if configuration.training else contender.inferred()
        if name == NN_LSTM:
            right.update(results)
        verdict = gpu_check.agreement(results, right, configuration.dtype)
        if verdict.note:
            return call, f"{verdict.note}, of {NN_LSTM}'s over all steps", 0.0
    return call, "", gpu_measure.warm_up(call, clock)


if __name__ == "__main__":
    sys.exit(main())
