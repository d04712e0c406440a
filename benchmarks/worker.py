"""One measuring process: ``python -m benchmarks.worker TASK`` prints a line of JSON for each row.

All peers of a row live in it, with the same threads on the same cores.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import torch

from benchmarks import floor, variants
from benchmarks.records import OWN_FLOAT32, Record, Task
from benchmarks.shapes import SHAPES
from fastlstm.bench import (
    PEERS,
    Contender,
    Peer,
    Problem,
    Results,
    compare_layer,
    layer_contender,
    make_problem,
    own_layer,
    pinned,
)


def main() -> None:
    task = Task.from_json(sys.argv[1])
    with pinned(task.threads):
        if task.part == "calibration":
            print(json.dumps(asdict(floor.calibrate(task.threads))), flush=True)
            return
        for record in MEASURE[task.part](task):
            print(record.to_json(), flush=True)


def shapes(task: Task) -> Iterator[Record]:
    """Each shape beside its peers."""
    for shape in task.shapes:
        case = replace(SHAPES[shape], dtype=task.dtype, training=task.mode == "training")
        peers = [PEERS[name] for name in task.peers]
        if case.training and case.dtype != "float32":
            peers.append(IN_FLOAT32)
        comparison = compare_layer(make_problem(case), peers, task.threads, task.pairs)
        yield Record("shapes", task.threads, task.mode, task.dtype, shape, comparison)


def _own_float32(problem: Problem, threads: int, expected: Callable[[], Results]) -> Contender:
    """Our own layer in float32 on the same numbers: what 16 bits are to be faster than."""
    problem = Problem(
        replace(problem.case, dtype="float32"),
        {name: value.to(torch.float32) for name, value in problem.parameters.items()},
        problem.input.to(torch.float32),
        problem.cotangent.to(torch.float32),
    )
    return layer_contender(own_layer(problem), problem, expected)


IN_FLOAT32 = Peer(OWN_FLOAT32, ("torch",), _own_float32)

MEASURE: dict[str, Callable[[Task], Iterator[Record]]] = {
    "shapes": shapes,
    "switches": variants.switches,
    "ragged": variants.ragged,
    "reset": variants.reset,
}

if __name__ == "__main__":
    main()
