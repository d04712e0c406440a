"""What is measured on a GPU, in order of importance; and what passes between the processes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.variants import NO_LOOP, ONLY_IN_TRAINING, TWO_LAYERS
from fastlstm.bench import switch_names

DTYPES = ("bfloat16", "float16", "float32")
SHAPES = ((64, 512), (64, 1024), (16, 512), (128, 1024), (1, 1024), (1, 256), (64, 2048))
"""(B, H), in order of importance. The input is as wide as the layer."""
SMALL_SHAPES = ((16, 64), (1, 32), (256, 128), (1024, 64))
STACKS = ((1, False), (2, False), (1, True), (2, True))
"""Layers, and whether in both directions."""
SWITCH_SHAPE = (64, 512)
RAGGED_SHAPES = ((64, 512), (64, 1024))
LOOP_SHAPE = (64, 512)
STEPS = 512
SHORT_STEPS = 16
"""Of sequences so short that what a call costs at once decides who is the fastest."""

PLAIN_PARTS = ("shapes", "small", "short")
"""The parts of the plan that have no switch and full rows."""

CHECK_STEPS = 16
"""Of a check: kernels are compiled for numbers that 16 divides, and so is ``STEPS``."""
LOOP_STEPS = 64
"""Of the compiled Python loop, which is unrolled: a compiler takes minutes for 512 steps."""

OPERATOR_SWITCHES = (
    "no_bias",
    "projection",
    "peephole",
    "layer_norm",
    "coupled_gates",
    "recurrent_mask",
    "zoneout_rates",
    "zoneout_masks",
    "cell_clip",
    "lengths",
    "reset",
    "reset_state",
    "reverse",
)
"""Those of the operator, which `gpu_operator.py` checks at sizes that fill no tile."""
EVERY_SWITCH = tuple(s for s in OPERATOR_SWITCHES if s not in ("no_bias", "zoneout_rates"))
STARTS = ("reverse", "lengths", "reset_state")
MANY_ROWS = (1_100, 60)
"""More than eight rows for each processor of an H100: not all programs run at once then."""

# Contenders beside our back ends, which go by their own names.
NN_LSTM, LOOP, DEFAULT, PLAIN = "nn.LSTM", "compiled loop", "default", "plain"
OTHERS = (NN_LSTM, LOOP, PLAIN, DEFAULT)
"""All that are no back ends."""


@dataclass(frozen=True)
class Configuration:
    """One row of a table."""

    part: str  # "shapes", "small", "short", "switches", "ragged", "loop"; "operator": only checked
    rows: int
    hidden: int
    dtype: str = "float32"
    training: bool = False  # forward and backward; else forward alone, in inference mode
    layers: int = 1
    bidirectional: bool = False
    switch: str = ""  # of the layer; of the operator, joined by "+", in the part "operator"
    steps: int = STEPS
    save_every: int = 1  # in the part "operator"
    captured: bool = False  # in the part "operator": as a CUDA graph that its user records

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def mode(self) -> str:
        return "forward+backward" if self.training else "forward"

    @property
    def label(self) -> str:
        """All of it but precision and mode, in words."""
        words = [f"({self.rows}, {self.hidden})"]
        if self.layers > 1:
            words.append(f"{self.layers} layers")
        if self.bidirectional:
            words.append("both directions")
        if self.part in ("short", "ragged", "loop", "operator"):
            words.append(self.part)
        if self.switch:
            words.append(self.switch)
        if self.save_every != 1:
            words.append(f"save_every={self.save_every}")
        if self.captured:
            words.append("captured")
        return ", ".join(words)


@dataclass(frozen=True)
class Item:
    """A configuration, and who is to be checked or timed there."""

    configuration: Configuration
    contenders: tuple[str, ...]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Item:
        return cls(Configuration(**values["configuration"]), tuple(values["contenders"]))


@dataclass(frozen=True)
class Job:
    """What one process does."""

    stage: str  # "check" or "time"
    device: str
    items: tuple[Item, ...]
    samples: int = 0  # of each contender, in the stage "time"
    ceilings: bool = False  # whether to measure the device's rates first

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        values = json.loads(text)
        return cls(**{**values, "items": tuple(map(Item.from_json, values["items"]))})


@dataclass(frozen=True)
class Record:
    """What became of one contender, or of a configuration as a whole."""

    kind: str  # "check", "time", or "default": which back ends serve where none is forced
    configuration: Configuration
    contender: str = ""
    seconds: float | None = None  # the median, of one call
    quartiles: tuple[float, float] = (0.0, 0.0)
    note: str = ""  # why there is no time: "refused: …", "WRONG: …", "CRASHED: …", "HUNG …"
    error: float | None = None  # of a check: the relative error that is nearest to its limit
    allowed: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        values = json.loads(text)
        values["configuration"] = Configuration(**values["configuration"])
        values["quartiles"] = tuple(values["quartiles"])
        return cls(**values)


@dataclass(frozen=True)
class Plan:
    """What is to be timed, and what is to be checked beside that."""

    timed: tuple[Configuration, ...]
    operators: tuple[Configuration, ...]


def plan() -> Plan:
    """Everything, the most important first."""
    timed = [*_shapes(SHAPES, STACKS[:1])]
    timed += _switches(SWITCH_SHAPE, switch_names(), ("float32", "bfloat16"), STEPS)
    timed += _ragged(RAGGED_SHAPES, DTYPES, STEPS)
    timed += [replace(c, part="small") for c in _shapes(SMALL_SHAPES, STACKS[:1])]
    shortened = _shapes((*SHAPES, *SMALL_SHAPES), STACKS[:1], steps=SHORT_STEPS)
    timed += [replace(c, part="short") for c in shortened]
    timed += _loop(LOOP_SHAPE, ("bfloat16", "float32"), LOOP_STEPS)
    for shape in SHAPES:  # all stacks of the first, should the time not last for all of them
        timed += _shapes((shape,), STACKS[1:])
    return Plan(tuple(timed), tuple(operators(OPERATOR_SWITCHES)))


def tiny_plan() -> Plan:
    """A few of each, of sizes at which an interpreter is quick."""
    timed = [*_shapes(((2, 5),), STACKS[:1], ("float32",), 3)]
    timed.append(replace(timed[0], layers=2, bidirectional=True))
    timed += _switches((2, 5), ("peephole",), ("float32",), 3)[1:]
    timed += _ragged(((2, 5),), ("float32",), 3)[:1]
    return Plan(tuple(timed), tuple(operators(("peephole",), sizes=((2, 5),))[1:2]))


def check_of(configuration: Configuration) -> Configuration:
    """What has to be right before this may be timed; both modes are checked together."""
    c = configuration
    steps = c.steps if c.part == "loop" else min(CHECK_STEPS, c.steps)
    part = c.part
    if part == "short":  # the same check as for the sequences of full length
        part = "shapes" if (c.rows, c.hidden) in SHAPES else "small"
    return replace(c, part=part, steps=steps, training=False)


def operators(
    switches: Sequence[str], sizes: Sequence[tuple[int, int]] = ((5, 33), (37, 130))
) -> list[Configuration]:
    """The operator with each switch, and with all of them, in each way of saving."""
    (rows, hidden), *larger = sizes
    first = Configuration("operator", rows, hidden, "float64", switch="", steps=11)
    found = [first, *(replace(first, switch=_joined(one, *STARTS)) for one in switches)]
    both = first, replace(first, switch=_joined(*EVERY_SWITCH))
    found.append(both[1])
    for dtype in ("float32", "bfloat16", "float16"):
        found += [replace(one, dtype=dtype) for one in both]
    for save_every in (0, 3):
        found += [replace(one, save_every=save_every) for one in both]
    for rows, hidden in larger:
        found += [replace(one, rows=rows, hidden=hidden) for one in both]
    found += [replace(one, dtype="float32", captured=True) for one in both]
    rows, hidden = MANY_ROWS
    many = [replace(one, rows=rows, hidden=hidden, dtype="float32") for one in both]
    found += [*many, replace(many[0], dtype="bfloat16")]
    return found


def sanitized() -> list[Configuration]:
    """What runs under a sanitizer, where each step takes seconds: few and small."""
    first = Configuration("operator", 5, 33, "float32", switch="", steps=3)
    everything = replace(first, switch=_joined(*EVERY_SWITCH))
    wide = replace(first, rows=18, hidden=130, dtype="bfloat16", switch="lengths")
    rows, hidden = MANY_ROWS
    many = replace(first, rows=rows, hidden=hidden, dtype="bfloat16")
    return [first, everything, wide, many]


def _joined(*switches: str) -> str:
    return "+".join(dict.fromkeys(switches))


def _shapes(
    shapes: Iterable[tuple[int, int]],
    stacks: Iterable[tuple[int, bool]],
    dtypes: Sequence[str] = DTYPES,
    steps: int = STEPS,
) -> Iterator[Configuration]:
    for layers, bidirectional in stacks:
        for rows, hidden in shapes:
            for dtype in dtypes:
                for training in (False, True):
                    yield Configuration(
                        "shapes",
                        rows,
                        hidden,
                        dtype,
                        training,
                        layers,
                        bidirectional,
                        steps=steps,
                    )


def _switches(
    shape: tuple[int, int], names: Iterable[str], dtypes: Iterable[str], steps: int
) -> list[Configuration]:
    # Those of the marks first.
    ordered = sorted(names, key=lambda name: name not in ("layer_norm", "peephole"))
    return [
        Configuration(
            "switches",
            *shape,
            dtype,
            training,
            layers=2 if name in TWO_LAYERS else 1,
            switch=name,
            steps=steps,
        )
        for name in ordered
        for dtype in dtypes
        for training in (False, True)
        if training or name not in ONLY_IN_TRAINING | NO_LOOP
    ]


def _ragged(
    shapes: Iterable[tuple[int, int]], dtypes: Iterable[str], steps: int
) -> list[Configuration]:
    return [
        Configuration("ragged", *shape, dtype, training, steps=steps)
        for shape in shapes
        for dtype in dtypes
        for training in (False, True)
    ]


def _loop(shape: tuple[int, int], dtypes: Iterable[str], steps: int) -> list[Configuration]:
    return [
        Configuration("loop", *shape, dtype, training, steps=steps)
        for dtype in dtypes
        for training in (False, True)
    ]
