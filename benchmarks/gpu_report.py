"""``RESULTS-gpu.md``: what was measured on a GPU, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.gpu_floor import Ceilings
from benchmarks.gpu_marks import Measurements, marks, rule_lines, rules
from benchmarks.gpu_measure import FEW
from benchmarks.gpu_plan import (
    DEFAULT,
    LOOP,
    NN_LSTM,
    OTHERS,
    PLAIN,
    STACKS,
    Configuration,
    Record,
)
from benchmarks.grid import EMPTY, Grid, number
from benchmarks.marks import outcomes
from benchmarks.report import marks_grid

ABOUT = """\
Each figure is the median of {samples} samples, all contenders of a row alternated in one process,
timed by events on the device from an idle device to an idle device, so that what the host needs to
launch work counts. `*`: a median of {few}, of one that takes over {slow} times as long as the
fastest. Before that each was held to float64 on the CPU: output, states and every gradient, over
{check_steps} steps (float32 no further from it than 2 × nn.LSTM's own error on the same device),
and then, over all steps, to nn.LSTM's results. What was wrong, crashed or hung has no time.
float32 is measured with `allow_tf32` off for products and for cuDNN. `default` is what serves where
no back end is forced; `cudnn` is cuDNN through this library, and none of its kernels. The reference
is not timed on a GPU.

`÷ floor` is the default's time over the least that this device could take
([gpu_floor.py](gpu_floor.py) has the formulas). `{loop}` is a Python loop compiled by
`torch.compile` over {loop_steps} steps, as a compiler takes minutes for more; its nn.LSTM and ours
run as many.
"""


def grids(measured: Measurements) -> list[Grid]:
    """All tables for which there is a record; the marks first."""
    found = [marks_grid(outcomes(measured, marks()))]
    for part, stacks in (("shapes", STACKS), ("small", STACKS[:1]), ("short", STACKS[:1])):
        for layers, bidirectional in stacks:
            for training in (False, True):
                rows = [
                    c
                    for c in measured.of(part)
                    if (c.layers, c.bidirectional, c.training) == (layers, bidirectional, training)
                ]
                if rows:
                    found.append(_shapes(measured, rows))
    for part, draw in (("switches", _switches), ("ragged", _shapes), ("loop", _shapes)):
        for training in (False, True):
            rows = [c for c in measured.of(part) if c.training == training]
            if rows:
                found.append(draw(measured, rows))
    found += _checks(measured)
    return found


def _shapes(measured: Measurements, rows: Sequence[Configuration]) -> Grid:
    first = rows[0]
    own = _own_names(measured, rows)
    peers = [name for name in (NN_LSTM, LOOP) if name in measured.names(rows)]
    lines = []
    for c in rows:
        default = measured.seconds(c, DEFAULT)
        peer, best = measured.seconds(c, NN_LSTM), measured.best(c)
        floor = measured.floor(c)
        lines.append(
            [
                f"({c.rows}, {c.hidden})",
                c.dtype,
                _step(measured, c, DEFAULT),
                ", ".join(measured.default(c)) or EMPTY,
                *(_step(measured, c, name) for name in own + peers),
                _ratio(peer, default),
                _ratio(peer, best[1] if best else None),
                EMPTY if floor is None else f"{floor / c.steps * 1e6:.2f}",
                number(None if default is None or not floor else default / floor),
            ]
        )
    stack = f"{first.layers} layer{'s' if first.layers > 1 else ''}, " + (
        "both directions" if first.bidirectional else "one direction"
    )
    header = ["(B, H)", "precision", "default", "which", *own, *peers]
    header += [f"{NN_LSTM} ÷ default", f"{NN_LSTM} ÷ fastest kernel", "floor", "default ÷ floor"]
    title = f"{first.part.capitalize()}, {stack}, {first.mode}, T = {first.steps}: µs a step"
    return Grid(title, header, lines, _notes(measured, rows))


def _switches(measured: Measurements, rows: Sequence[Configuration]) -> Grid:
    own = _own_names(measured, rows)
    lines = []
    for c in rows:
        plain = measured.seconds(c, PLAIN)
        lines.append(
            [
                c.switch,
                c.dtype,
                _step(measured, c, PLAIN),
                *(_step(measured, c, name) for name in (DEFAULT, *own)),
                *(_ratio(measured.seconds(c, name), plain) for name in (DEFAULT, *own)),
            ]
        )
    header = ["switch", "precision", "plain", DEFAULT, *own]
    header += [f"{name} ÷ plain" for name in (DEFAULT, *own)]
    first = rows[0]
    title = f"Switches, ({first.rows}, {first.hidden}), {first.mode}, T = {first.steps}: µs a step"
    return Grid(title, header, lines, _notes(measured, rows))


def _checks(measured: Measurements) -> Iterator[Grid]:
    """The worst of each contender in each precision, and everything that was not right."""
    worst: dict[tuple[str, str, str], Record] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for found in measured.records:
        if found.kind != "check" or found.error is None or not found.allowed:
            continue
        part = "operator" if found.configuration.part in ("operator", "switches") else "layer"
        key = (found.contender, part, found.configuration.dtype)
        counts[key] = counts.get(key, 0) + 1
        other = worst.get(key)
        if other is None or not _share(found) <= _share(other):
            worst[key] = found
    if worst:
        lines = [
            [
                name,
                part,
                dtype,
                str(counts[name, part, dtype]),
                f"{found.error:.1e}",
                f"{found.allowed:.1e}",
                f"{found.facts.get('tensor', '')}, {found.configuration.label}",
                "WRONG" if found.note else "right",
            ]
            for (name, part, dtype), found in worst.items()
        ]
        header = ["checked", "what", "precision", "checks", "error", "allowed", "where", ""]
        yield Grid("Checks against float64: the nearest to its limit", header, lines)


def _share(found: Record) -> float:
    assert found.error is not None and found.allowed
    return found.error / found.allowed


def _own_names(measured: Measurements, rows: Iterable[Configuration]) -> list[str]:
    return [name for name in measured.names(rows) if name not in OTHERS]


def _step(measured: Measurements, c: Configuration, name: str) -> str:
    """Microseconds a step; or in one word why there are none."""
    seconds = measured.seconds(c, name)
    if seconds is not None:
        few = "*" if measured.samples(c, name) <= FEW else ""
        return f"{seconds / c.steps * 1e6:.2f}{few}"
    return measured.note(c, name).partition(":")[0] or EMPTY


def _ratio(one: float | None, other: float | None) -> str:
    return EMPTY if one is None or other is None else f"{one / other:.2f}×"


def _notes(measured: Measurements, rows: Iterable[Configuration]) -> list[str]:
    """Why anyone has no time, each reason once with the number of rows."""
    counts: dict[str, list[str]] = {}
    for c in rows:
        for name in measured.tried(c):
            note = measured.note(c, name)
            if note and measured.seconds(c, name) is None:
                counts.setdefault(f"{name}: {note}", []).append(f"{c.label} {c.dtype}")
    return [
        f"{text} ({where[0]}{f' and {len(where) - 1} more' if len(where) > 1 else ''})"
        for text, where in counts.items()
    ]


def failures(records: Iterable[Record]) -> list[str]:
    """Everything that was wrong, crashed, hung or was refused; each once."""
    found: dict[str, list[Configuration]] = {}
    for record in records:
        if record.note:
            found.setdefault(f"{record.contender}: {record.note}", []).append(record.configuration)
    lines = []
    for text, where in found.items():
        more = f", and {len(where) - 1} more" if len(where) > 1 else ""
        lines.append(f"{text} ({where[0].label}, {where[0].dtype}{more})")
    return lines


def ceiling_lines(ceilings: Ceilings) -> list[str]:
    """The measured rates, in words."""
    chip = ceilings.chip
    barrier = "not measured" if ceilings.barrier is None else f"{ceilings.barrier * 1e6:.2f} µs"
    return [
        ", ".join(f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in ceilings.product.items()),
        f"memory {ceilings.memory / 1e12:.3g} TB/s, L2 {ceilings.l2 / 1e12:.3g} TB/s, both read "
        "and written",
        f"a barrier of all processors {barrier}, a kernel of a graph {ceilings.kernel * 1e6:.2f} "
        f"µs, a kernel launched by the host {ceilings.launch * 1e6:.2f} µs",
        f"{chip.processors} processors with {chip.on_chip >> 10} KiB of registers and shared "
        f"memory each, {chip.l2 >> 20} MiB of L2",
    ]


def markdown(
    measured: Measurements, facts: dict[str, str], missing: Sequence[str], command: str, about: str
) -> str:
    """The whole of ``RESULTS-gpu.md``."""
    lines = ["# Results on a GPU", "", *(f"- {name}: {value}" for name, value in facts.items())]
    lines.append(f"- Command: `{command}`")
    if measured.ceilings is not None:
        lines += [f"- Measured: {line}" for line in ceiling_lines(measured.ceilings)]
    lines += ["", about]
    lines += [grid.markdown() for grid in grids(measured)]
    lines += _list("Wrong, crashed, hung or refused", failures(measured.records))
    lines += _list("Not measured", missing)
    found = rules(measured)
    if found.scans or found.stacks:
        lines += ["### Proposed rules", ""]
        lines += ["For `fastlstm/ops/rules.py`; `MOST` is a number beyond all sizes:", ""]
        lines += ["```python", *rule_lines(found), "```", ""]
    return "\n".join(lines)


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return [f"### {title}", "", *(f"- {line}" for line in lines), ""] if lines else []
