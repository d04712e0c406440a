"""The tables, for the terminal and for ``RESULTS.md``."""

from collections.abc import Iterable, Sequence

from benchmarks.floor import Calibration
from benchmarks.grid import EMPTY, Grid, number
from benchmarks.marks import (
    Measured,
    Outcome,
    best_peer,
    cost,
    geometric_means,
    outcomes,
    proportion,
)
from benchmarks.records import OWN_FLOAT32, Record
from benchmarks.variants import DENSE, LOOP, NO_RESET, PACKED, PADDED
from fastlstm.bench import PEERS


def grids(measured: Measured) -> list[Grid]:
    """All tables for which there are records."""
    result = []
    for dtype in ("float32", "bfloat16"):
        for mode in ("inference", "training"):
            for threads in (1, 2):
                records = [r for r in measured.of("shapes", mode, dtype) if r.threads == threads]
                if records:
                    result.append(_shapes(measured, records))
    result += _variants(measured)
    result.append(marks_grid(outcomes(measured)))
    return result


def _shapes(measured: Measured, records: Sequence[Record]) -> Grid:
    first = records[0]
    names = [peer.name for peer in PEERS.values()]
    names = [n for n in [*names, OWN_FLOAT32] if any(n in r.comparison.peers for r in records)]
    # A peer with the same reason everywhere is no column but a note.
    absent = {}
    for name in names:
        notes = {r.comparison.peers[name].note for r in records if not r.comparison.failure}
        if len(notes) == 1 and "" not in notes:
            absent[name] = notes.pop()
    names = [name for name in names if name not in absent]
    rows, failures = [], []
    for record in records:
        cells = []
        for name in names:
            peer = record.comparison.peers.get(name)
            cells.append(ratio_cell(peer.ratio if peer else None, peer.note if peer else ""))
            if peer and peer.note:
                failures.append(f"{name}, {record.label}: {peer.note}")
        over_floor = measured.over_floor(record)
        if record.comparison.failure:
            failures.append(f"fastlstm, {record.label}: {record.comparison.failure}")
        rows.append(
            [
                record.label,
                time_cell(record.comparison.seconds, record.comparison.failure),
                *cells,
                EMPTY if over_floor is None else f"{over_floor:.2f}",
            ]
        )
    means = [
        dict(geometric_means(records, lambda record, name=name: record.ratio(name)))
        for name in names
    ]
    rows.append(
        [
            "geometric mean",
            "",
            *(f"{next(iter(mean.values())):.2f}×" if mean else EMPTY for mean in means),
            "",
        ]
    )
    notes = [f"{name}: {note}" for name, note in absent.items()]
    best = geometric_means(records, best_peer)
    if best:
        notes.append(f"geometric mean over the fastest peer of each shape: {best[0][1]:.2f}×")
    threads = f"{first.threads} thread{'s' if first.threads > 1 else ''}"
    return Grid(
        f"{first.mode.capitalize()}, {first.dtype}, {threads}",
        ["T×B×input×hidden×layers", "ms", *(f"over {name}" for name in names), "÷ floor"],
        rows,
        notes + failures,
    )


def _variants(measured: Measured) -> Iterable[Grid]:
    if measured.of("switches"):
        yield _ratios(
            "Switches, 100x16x256x256x1, float32",
            ["switch", "× plain layer", "over Python loop"],
            measured.of("switches"),
            lambda record: [number(cost(record)), ratio_cell(record.ratio(LOOP))],
        )
    if measured.of("ragged"):
        yield _ratios(
            "Ragged batch, float32",
            ["batch", f"over {PACKED}", f"over {PADDED}", f"real step ÷ step of {DENSE}"],
            measured.of("ragged"),
            lambda record: [
                ratio_cell(record.ratio(PACKED)),
                ratio_cell(record.ratio(PADDED)),
                number(proportion(record)),
            ],
        )
    if measured.of("reset"):
        yield _ratios(
            "Reset mask, float32",
            ["batch", "× no reset"],
            measured.of("reset"),
            lambda r: [number(None if r.ratio(NO_RESET) is None else 1 / (r.ratio(NO_RESET) or 1))],
        )


def _ratios(title: str, header: list[str], records: Sequence[Record], figures: ...) -> Grid:
    rows, notes = [], []
    for record in records:
        comparison = record.comparison
        rows.append(
            [
                record.label,
                record.mode,
                str(record.threads),
                time_cell(comparison.seconds, comparison.failure),
                *figures(record),
            ]
        )
        failures = {"fastlstm": comparison.failure}
        failures |= {name: peer.note for name, peer in comparison.peers.items()}
        notes += [f"{name}, {record.label}: {note}" for name, note in failures.items() if note]
    return Grid(title, [header[0], "mode", "threads", "ms", *header[1:]], rows, notes)


def marks_grid(results: Sequence[Outcome]) -> Grid:
    """The marks that were measured; how many were not."""
    rows, missing = [], 0
    for outcome in results:
        if outcome.value is None and not outcome.failed:
            missing += 1
            continue
        sign = "≥" if outcome.mark.at_least else "≤"
        rows.append(
            [
                outcome.mark.title,
                f"{sign} {outcome.mark.limit:g}",
                number(outcome.value),
                outcome.verdict,
                outcome.where or EMPTY,
            ]
        )
    notes = [f"not measured in this run: {missing} of {len(results)} marks"] if missing else []
    return Grid("Marks", ["mark", "bound", "worst", "", "where"], rows, notes)


def time_cell(seconds: float | None, failure: str) -> str:
    """Milliseconds; or FAILED, and never a speed beside it."""
    if failure:
        return "FAILED"
    return EMPTY if seconds is None else f"{seconds * 1e3:.3g}"


def ratio_cell(ratio: float | None, note: str = "") -> str:
    """A ratio as ``2.13×``; FAILED where the peer was wrong."""
    if note.startswith("FAILED"):
        return "FAILED"
    return EMPTY if ratio is None else f"{ratio:.2f}×"


def calibration_lines(calibrations: Iterable[Calibration]) -> list[str]:
    """The measured rates behind the floors, in words."""
    lines = []
    for calibration in calibrations:
        peaks = [f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in calibration.peak.items()]
        rates = [f"{level} {rate / 1e9:.0f} GB/s" for level, rate in calibration.bandwidth.items()]
        lines.append(f"{calibration.threads} thread(s): {', '.join(peaks + rates)}")
    return lines


def results_markdown(
    measured: Measured, machine: dict[str, str], date: str, command: str, pairs: int
) -> str:
    """The whole of ``RESULTS.md``."""
    lines = ["# Results", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [f"- Date: {date}", f"- Command: `{command}`"]
    lines += [
        f"- Measured rates, {line}" for line in calibration_lines(measured.calibrations.values())
    ]
    lines += [
        "",
        f"Each ratio is the peer's time over fastlstm's: the median of {pairs} pairs, the two",
        "alternated in one process on as many cores as threads, after the results of both were",
        "held to a float64 result of the same configuration. `ms` is fastlstm's median time;",
        "training is a forward and a backward pass, with the gradients of the input and of every",
        "parameter.",
        "",
        "Each process is bound to as many cores as threads, and told their number by",
        "`torch.set_num_threads`, `OMP_NUM_THREADS` and its like, ONNX Runtime's",
        "`intra_op_num_threads` and OpenVINO's `INFERENCE_NUM_THREADS`. JAX has no such setting:",
        "XLA starts a worker for each core that it finds, and for one thread is told to use none.",
        "",
        "`÷ floor` is fastlstm's time over the least that this machine could take",
        "([floor.py](floor.py) has the formulas).",
        "",
        "![Speed over torch.nn.LSTM](results.png)",
        "",
    ]
    tables = grids(measured)
    # The summary first: it is what most readers come for.
    ordered = [tables[-1], *tables[:-1]]
    return "\n".join(lines) + "\n" + "\n".join(grid.markdown() for grid in ordered)
