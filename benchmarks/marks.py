"""What the speeds are to be, as data, and whether they are."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.floor import Calibration, floor_seconds
from benchmarks.records import OWN_FLOAT32, Record
from benchmarks.variants import DENSE, LOOP, NO_LOOP, PACKED, PLAIN
from fastlstm.bench import PEERS

TORCH = PEERS["torch"].name
NOT_SLOWER = 0.97
"""Of a ratio: the rest is noise."""


@dataclass(frozen=True)
class Measured:
    """All that a benchmark measured."""

    records: Sequence[Record]
    calibrations: dict[int, Calibration] = field(default_factory=dict)  # by threads
    import_seconds: float | None = None
    build_seconds: float | None = None

    def of(self, part: str, mode: str = "", dtype: str = "") -> list[Record]:
        """The records of a part that were measured in this mode and precision."""
        return [
            record
            for record in self.records
            if record.part == part and mode in ("", record.mode) and dtype in ("", record.dtype)
        ]

    def over_floor(self, record: Record) -> float | None:
        """Our time over the floor of a shape."""
        calibration = self.calibrations.get(record.threads)
        if calibration is None or record.comparison.seconds is None:
            return None
        return record.comparison.seconds / floor_seconds(record.case, calibration)


Values = list[tuple[str, float]]
"""Figures, each with what it belongs to."""


@dataclass(frozen=True)
class Mark:
    """A bound on figures; the worst of them decides."""

    title: str
    at_least: bool  # else at most
    limit: float
    values: Callable[[Any], Values]  # of what was measured: of a `Measured`, in `MARKS`


@dataclass(frozen=True)
class Outcome:
    """How a mark stands; without a value nothing was measured that belongs to it."""

    mark: Mark
    value: float | None = None
    where: str = ""
    failed: int = 0  # rows that belong to it and have no figure, their results being wrong

    @property
    def met(self) -> bool:
        """Whether the bound holds, everywhere."""
        if self.value is None or self.failed:
            return False
        return (
            self.value >= self.mark.limit if self.mark.at_least else self.value <= self.mark.limit
        )

    @property
    def verdict(self) -> str:
        """``met``, ``missed by 12%``, ``FAILED`` or ``not measured``."""
        if self.failed:
            return f"FAILED in {self.failed}"
        if self.value is None:
            return "not measured"
        if self.met:
            return "met"
        return f"missed by {abs(self.value / self.mark.limit - 1):.0%}"


def outcomes(measured: Any, marks: Sequence[Mark] | None = None) -> list[Outcome]:
    """How each mark stands: ``MARKS`` unless others are given, with what they read."""
    result = []
    for mark in MARKS if marks is None else marks:
        values = mark.values(measured)
        # A wrong result has no speed: it is carried as NaN, and no bound holds with it.
        right = [(where, value) for where, value in values if value == value]
        failed = len(values) - len(right)
        if right:
            worst = (min if mark.at_least else max)(right, key=lambda pair: pair[1])
            result.append(Outcome(mark, worst[1], worst[0], failed))
        else:
            result.append(Outcome(mark, failed=failed))
    return result


def geometric_means(records: Iterable[Record], ratio: Callable[[Record], float | None]) -> Values:
    """The geometric mean of a ratio over the shapes, for each number of threads."""
    by_threads: dict[int, list[float]] = {}
    for record in records:
        value = ratio(record)
        if value is not None:
            by_threads.setdefault(record.threads, []).append(value)
    return [
        (f"{threads} thread{'s' if threads > 1 else ''}", statistics.geometric_mean(values))
        for threads, values in sorted(by_threads.items())
    ]


def best_peer(record: Record) -> float | None:
    """The ratio to the fastest peer; our own float32 is none."""
    ratios = [record.ratio(peer.name) for peer in PEERS.values()]
    return min((ratio for ratio in ratios if ratio is not None), default=None)


def torch_ratio(record: Record) -> float | None:
    """The ratio to ``torch.nn.LSTM``."""
    return record.ratio(TORCH)


def _each(records: Iterable[Record], figure: Callable[[Record], float | None]) -> Values:
    """The figure of each record that has one; NaN where ours was wrong."""
    values = []
    for record in records:
        value = float("nan") if record.comparison.failure else figure(record)
        if value is not None:
            where = f"{record.label}, {record.mode} {record.dtype}, threads {record.threads}"
            values.append((where, value))
    return values


def _shapes(
    mode: str, dtype: str, ratio: Callable[[Record], float | None]
) -> Callable[[Measured], Values]:
    return lambda measured: _each(measured.of("shapes", mode, dtype), ratio)


def _means(
    mode: str, dtype: str, ratio: Callable[[Record], float | None]
) -> Callable[[Measured], Values]:
    def values(measured: Measured) -> Values:
        records = measured.of("shapes", mode, dtype)
        # A mean over fewer shapes than were asked for is no mean over them.
        wrong = [pair for pair in _each(records, ratio) if pair[1] != pair[1]]
        return [*geometric_means(records, ratio), *wrong]

    return values


def _own_float32(measured: Measured) -> Values:
    records = measured.of("shapes", "training", "bfloat16")
    wide = [r for r in records if r.case.hidden_size >= 256 and r.case.batch >= 16]
    return _each(wide, lambda record: record.ratio(OWN_FLOAT32))


def _one_row(measured: Measured) -> Values:
    records = measured.of("shapes", "inference", "float32")
    return _each([r for r in records if r.label == ONE_ROW and r.threads == 2], torch_ratio)


def _floor(mode: str, shape: str) -> Callable[[Measured], Values]:
    return lambda measured: _each(
        [r for r in measured.of("shapes", mode, "float32") if r.label == shape],
        measured.over_floor,
    )


def _cost(measured: Measured, chosen: Callable[[str], bool]) -> Values:
    """Each switch's time over the plain layer's; checkpointing, which saves memory, is no switch
    of the equations."""
    records = [r for r in measured.of("switches") if r.label not in NO_LOOP and chosen(r.label)]
    return _each(records, cost)


def cost(record: Record) -> float | None:
    """Our time over the plain layer's."""
    ratio = record.ratio(PLAIN)
    return None if ratio is None else 1 / ratio


def proportion(record: Record) -> float | None:
    """The time of a real step in a ragged batch over that of a step in a full one."""
    ratio = record.ratio(DENSE)
    if ratio is None:
        return None
    return record.facts["dense_steps"] / record.facts["real_steps"] / ratio


def _given(title: str, value: float | None) -> Values:
    return [] if value is None else [(title, value)]


LARGE, ONE_ROW = "50x128x1024x1024x1", "100x1x512x512x1"

MARKS = (
    Mark(
        "Inference float32: no shape slower than the fastest peer",
        True,
        NOT_SLOWER,
        _shapes("inference", "float32", best_peer),
    ),
    Mark(
        "Inference float32: geometric mean over nn.LSTM",
        True,
        2.0,
        _means("inference", "float32", torch_ratio),
    ),
    Mark(
        "Inference float32: geometric mean over the fastest peer",
        True,
        1.5,
        _means("inference", "float32", best_peer),
    ),
    Mark(
        "Training float32: no shape slower than nn.LSTM",
        True,
        NOT_SLOWER,
        _shapes("training", "float32", torch_ratio),
    ),
    Mark(
        "Training float32: geometric mean over nn.LSTM",
        True,
        1.8,
        _means("training", "float32", torch_ratio),
    ),
    Mark(
        "Inference bfloat16: no shape slower than nn.LSTM",
        True,
        NOT_SLOWER,
        _shapes("inference", "bfloat16", torch_ratio),
    ),
    Mark(
        "Inference bfloat16: geometric mean over nn.LSTM",
        True,
        1.5,
        _means("inference", "bfloat16", torch_ratio),
    ),
    Mark(
        "Training bfloat16: no shape slower than nn.LSTM",
        True,
        NOT_SLOWER,
        _shapes("training", "bfloat16", torch_ratio),
    ),
    Mark(
        "Training bfloat16: geometric mean over nn.LSTM",
        True,
        1.5,
        _means("training", "bfloat16", torch_ratio),
    ),
    Mark(
        "Training bfloat16, hidden ≥ 256, batch ≥ 16: over our own float32", True, 2.0, _own_float32
    ),
    Mark("Batch 1, hidden 512, 2 threads, float32: over nn.LSTM", True, 4.0, _one_row),
    Mark(f"Inference float32, {LARGE}: time ÷ floor", False, 1.25, _floor("inference", LARGE)),
    Mark(f"Training float32, {LARGE}: time ÷ floor", False, 1.25, _floor("training", LARGE)),
    Mark(f"Inference float32, {ONE_ROW}: time ÷ floor", False, 1.6, _floor("inference", ONE_ROW)),
    Mark(f"Training float32, {ONE_ROW}: time ÷ floor", False, 1.6, _floor("training", ONE_ROW)),
    Mark(
        "Each switch but layer norm: over the plain layer's time",
        False,
        1.35,
        lambda measured: _cost(measured, lambda name: name != "layer_norm"),
    ),
    Mark(
        "Layer norm: over the plain layer's time",
        False,
        1.6,
        lambda measured: _cost(measured, lambda name: name == "layer_norm"),
    ),
    Mark(
        "Each switch: over the Python loop",
        True,
        10.0,
        lambda measured: _each(measured.of("switches"), lambda record: record.ratio(LOOP)),
    ),
    Mark(
        "Ragged: over nn.LSTM on a PackedSequence",
        True,
        2.0,
        lambda measured: _each(measured.of("ragged"), lambda record: record.ratio(PACKED)),
    ),
    Mark(
        "Ragged: a real step's time over a full batch's",
        False,
        1.2,
        lambda measured: _each(measured.of("ragged"), proportion),
    ),
    Mark(
        "import fastlstm: seconds on top of torch",
        False,
        0.2,
        lambda measured: _given("import", measured.import_seconds),
    ),
    Mark(
        "Build from nothing: seconds",
        False,
        180.0,
        lambda measured: _given("build", measured.build_seconds),
    ),
)
