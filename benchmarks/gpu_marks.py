"""What was measured on a GPU, how it stands to the marks, and the rules of choice it proposes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import torch

from benchmarks.gpu_floor import Ceilings, floor_of
from benchmarks.gpu_plan import (
    DEFAULT,
    DTYPES,
    NN_LSTM,
    OTHERS,
    PLAIN,
    PLAIN_PARTS,
    Configuration,
    Record,
    check_of,
)
from benchmarks.marks import Mark, Values
from fastlstm.ops.backends import CUDNN
from fastlstm.ops.rules import Rule

WRONG = float("nan")
"""A figure of what was wrong: no bound holds with it."""

PERSISTENT_ROWS = 128
PERSISTENT_UNITS = 1024
"""Up to which cuDNN uses its persistent kernel in float16, where 8 and 128 divide them."""


class Measurements:
    """The records of a run, by what they are about."""

    def __init__(self, records: Iterable[Record], ceilings: Ceilings | None = None) -> None:
        self.ceilings = ceilings
        self.records = list(records)
        self._timed = {(r.configuration, r.contender): r for r in self.records if r.kind == "time"}
        self._checked = {
            (r.configuration, r.contender): r for r in self.records if r.kind == "check"
        }
        self._defaults = {
            (r.configuration, mode): tuple(names)
            for r in self.records
            if r.kind == "default"
            for mode, names in r.facts.items()
        }
        self.configurations = list(
            dict.fromkeys(r.configuration for r in self.records if r.kind == "time")
        )

    def of(self, part: str) -> list[Configuration]:
        """The configurations of a part, in the order in which they were timed."""
        return [c for c in self.configurations if c.part == part]

    def names(self, configurations: Iterable[Configuration]) -> list[str]:
        """All contenders that have a record in one of them."""
        wanted = set(configurations)
        return list(dict.fromkeys(name for c, name in self._timed if c in wanted and name))

    def tried(self, configuration: Configuration) -> list[str]:
        """All contenders that were to be timed here."""
        check = check_of(configuration)
        names = [name for c, name in self._checked if c == check]
        names += [name for c, name in self._timed if c == configuration]
        return [name for name in dict.fromkeys(names) if name]

    def note(self, configuration: Configuration, name: str) -> str:
        """Why a contender has no time here; an empty string where it has one or was not tried."""
        chosen = self.default(configuration) if name == DEFAULT else ()
        for one in (name, *chosen):
            for found in (
                self._timed.get((configuration, one)),
                self._checked.get((check_of(configuration), one)),
            ):
                if found is not None and found.note:
                    return found.note
        return ""

    def seconds(self, configuration: Configuration, name: str) -> float | None:
        """A contender's median; that of the default is that of the back end it comes to."""
        found = self._record(configuration, name)
        return None if found is None else found.seconds

    def samples(self, configuration: Configuration, name: str) -> int:
        """How many samples its median is of."""
        found = self._record(configuration, name)
        return 0 if found is None else found.facts.get("samples", 0)

    def _record(self, configuration: Configuration, name: str) -> Record | None:
        found = self._timed.get((configuration, name))
        if found is None and name == DEFAULT:
            chosen = self.default(configuration)
            if len(chosen) == 1:
                found = self._timed.get((configuration, chosen[0]))
        return found

    def default(self, configuration: Configuration) -> tuple[str, ...]:
        """The back ends that serve where none is forced."""
        mode = "training" if configuration.training else "inference"
        checked = replace(check_of(configuration), steps=configuration.steps)
        return self._defaults.get((checked, mode), ())

    def own(self, configuration: Configuration) -> dict[str, float]:
        """The medians of our own kernels, whichever have one."""
        names = (n for c, n in self._timed if c == configuration)
        found = {n: self.seconds(configuration, n) for n in names if n not in (*OTHERS, CUDNN)}
        return {name: value for name, value in found.items() if value is not None}

    def best(self, configuration: Configuration) -> tuple[str, float] | None:
        """The fastest of our own kernels."""
        own = self.own(configuration)
        return min(own.items(), key=lambda pair: pair[1]) if own else None

    def floor(self, configuration: Configuration) -> float | None:
        """The seconds of the floor, which is that of full rows."""
        if self.ceilings is None or configuration.part == "ragged":
            return None
        return floor_of(configuration, self.ceilings).seconds


Ours = Callable[[Measurements, Configuration], float | None]
"""The seconds that stand for us: those of the default, or of our fastest kernel."""


def _of_default(measured: Measurements, configuration: Configuration) -> float | None:
    if measured.note(configuration, DEFAULT).startswith(("WRONG", "CRASHED", "HUNG")):
        return WRONG
    return measured.seconds(configuration, DEFAULT)


def _of_best(measured: Measurements, configuration: Configuration) -> float | None:
    best = measured.best(configuration)
    return None if best is None else best[1]


OURS: dict[str, Ours] = {"default": _of_default, "fastest kernel": _of_best}


def marks() -> tuple[Mark, ...]:
    """Every mark, of the default and of the fastest of our kernels."""
    return tuple(mark for which, ours in OURS.items() for mark in _marks(which, ours))


def _marks(which: str, ours: Ours) -> Iterator[Mark]:
    for training, limit in ((False, 3.0), (True, 2.0)):
        mode = "forward+backward" if training else "forward"
        for dtype in ("bfloat16", "float32"):

            def belongs(c: Configuration, dtype: str = dtype, training: bool = training) -> bool:
                right = c.part == "shapes" and c.hidden <= PERSISTENT_UNITS
                return right and (c.dtype, c.training) == (dtype, training)

            yield Mark(
                f"{which}: {dtype} {mode}, H ≤ 1024, over {NN_LSTM}",
                True,
                limit,
                _ratios(belongs, ours, lambda m, c: m.seconds(c, NN_LSTM)),
            )
    yield Mark(
        f"{which}: float16 where cuDNN is persistent, over {NN_LSTM}",
        True,
        1.0,
        _ratios(in_persistent_window, ours, lambda m, c: m.seconds(c, NN_LSTM)),
    )
    for switch in ("layer_norm", "peephole"):
        yield Mark(
            f"{which}: {switch} ÷ the plain cell",
            False,
            1.4,
            _inverse(
                _ratios(
                    lambda c, switch=switch: c.part == "switches" and c.switch == switch,
                    ours,
                    lambda m, c: m.seconds(c, PLAIN),
                )
            ),
        )
    yield Mark(
        f"{which}: ragged, over {NN_LSTM} on a PackedSequence",
        True,
        3.0,
        _ratios(lambda c: c.part == "ragged", ours, lambda m, c: m.seconds(c, NN_LSTM)),
    )
    yield Mark(
        f"{which}: time ÷ floor",
        False,
        2.0,
        _inverse(_ratios(lambda c: c.part == "shapes", ours, lambda m, c: m.floor(c))),
    )


def in_persistent_window(c: Configuration) -> bool:
    """Whether cuDNN serves this with its persistent kernel, as PyTorch asks for it."""
    plain = c.part == "shapes" and c.dtype == "float16" and c.layers == c.directions == 1
    fits = c.rows % 8 == 0 and c.rows <= PERSISTENT_ROWS
    return plain and fits and c.hidden % 128 == 0 and c.hidden <= PERSISTENT_UNITS


def _ratios(
    belongs: Callable[[Configuration], bool], ours: Ours, of_other: Ours
) -> Callable[[Measurements], Values]:
    """The other's time over ours, wherever both are known; NaN where ours was wrong."""

    def values(measured: Measurements) -> Values:
        found = []
        for c in measured.configurations:
            if not belongs(c):
                continue
            own, other = ours(measured, c), of_other(measured, c)
            if own is not None and other is not None:
                found.append((f"{c.label}, {c.dtype} {c.mode}", other / own))
        return found

    return values


def _inverse(values: Callable[[Measurements], Values]) -> Callable[[Measurements], Values]:
    return lambda measured: [(where, 1.0 / value) for where, value in values(measured)]


# The rules ---------------------------------------------------------------------------------------


class Rules(NamedTuple):
    """The two tables of `fastlstm.ops.rules`."""

    scans: list[Rule]
    stacks: list[Rule]


MOST = 2**31
"""What a rule says of sizes for which none larger was measured."""


def rules(measured: Measurements) -> Rules:
    """Who was fastest, over the whole range of T, H and B that a measured shape is nearest to."""
    found = Rules([], [])
    everything = [c for part in PLAIN_PARTS for c in measured.of(part)]
    lengths = {c.steps: c.steps for c in everything}
    for (dtype, trains), (steps, length) in product(
        product(DTYPES, (False, True)), _ranges(lengths)
    ):
        configurations = [
            c for c in everything if (c.dtype, c.training, c.steps) == (dtype, trains, length)
        ]
        single = [c for c in configurations if c.layers == c.directions == 1]
        winners = {c: best[0] for c in single if (best := measured.best(c))}
        found.scans.extend(_rules(winners, steps))
        for scans in sorted({c.layers * c.directions for c in configurations}):
            of_size = [c for c in configurations if c.layers * c.directions == scans]
            found.stacks.extend(_rules(_stack_winners(measured, of_size), steps))
    return found


def _stack_winners(
    measured: Measurements, configurations: Sequence[Configuration]
) -> dict[Configuration, str]:
    """Our scans or cuDNN; two layers and two directions are one size, in which the mean decides."""
    ratios: dict[tuple[int, int], list[tuple[Configuration, float]]] = {}
    for c in configurations:
        best = measured.best(c)
        whole = [t for name in (CUDNN, NN_LSTM) if (t := measured.seconds(c, name)) is not None]
        if best is not None and whole:
            ratios.setdefault((c.rows, c.hidden), []).append((c, min(whole) / best[1]))
    return {
        found[0][0]: "scan" if statistics.geometric_mean(r for _, r in found) > 1 else CUDNN
        for found in ratios.values()
    }


def _rules(winners: dict[Configuration, str], steps: tuple[int, int]) -> Iterator[Rule]:
    by_size: dict[int, dict[int, str]] = {}
    for c, name in winners.items():
        by_size.setdefault(c.hidden, {})[c.rows] = name
    for hidden, by_rows in _ranges({h: _ranges(rows) for h, rows in by_size.items()}):
        for rows, name in by_rows:
            c = next(iter(winners))
            scans = c.layers * c.directions
            dtypes = (getattr(torch, c.dtype),)
            yield Rule(name, dtypes, c.training, rows, hidden, steps, (scans, scans))


def _ranges(found: Mapping[int, Any]) -> list[tuple[tuple[int, int], Any]]:
    """Each value with the numbers that are nearest to its own, equal neighbours as one."""
    result: list[tuple[tuple[int, int], Any]] = []
    sizes = sorted(found)
    for index, size in enumerate(sizes):
        last = index + 1 == len(sizes)
        most = MOST if last else math.isqrt(size * sizes[index + 1])
        (least, before), value = result[-1] if result else ((1, 0), None)
        if result and value == found[size]:
            result[-1] = (least, most), value
        else:
            result.append(((before + 1, most), found[size]))
    return result


def rule_lines(found: Rules) -> list[str]:
    """The rules as `fastlstm.ops.rules` has them."""
    lines = []
    for name, table in (("SCANS", found.scans), ("STACKS", found.stacks)):
        lines.append(f"{name}: tuple[Rule, ...] = (")
        for rule in table:
            (dtype,) = rule.dtypes
            sizes = ", ".join(map(_sizes, rule[3:]))
            lines.append(f'    Rule("{rule.fastest}", ({dtype},), {rule.trains}, {sizes}),')
        lines.append(")")
    return lines


def _sizes(pair: tuple[int, int]) -> str:
    least, most = pair
    return f"({least}, {'MOST' if most == MOST else most})"
