"""What a measurement leaves: rows that pass from the measuring processes to the report."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.shapes import SHAPES
from fastlstm.bench import Case, Comparison, PeerResult

PARTS = ("shapes", "switches", "ragged", "reset")
"""The tables of the report."""

OWN_FLOAT32 = "fastlstm float32"
"""A peer of training in 16 bits: our own layer in float32."""


@dataclass(frozen=True)
class Task:
    """What one process measures; all that its peers share is fixed for its whole life."""

    part: str  # of PARTS, or "calibration"
    threads: int
    mode: str = "inference"  # or "training"
    dtype: str = "float32"
    shapes: tuple[str, ...] = ()  # keys of SHAPES, for the part "shapes"
    peers: tuple[str, ...] = ()  # keys of PEERS
    pairs: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Task":
        values = json.loads(text)
        return cls(**{**values, "shapes": tuple(values["shapes"]), "peers": tuple(values["peers"])})


@dataclass(frozen=True)
class Record:
    """One row: a configuration and how it compares."""

    part: str
    threads: int
    mode: str
    dtype: str
    label: str  # the shape, the switch, …
    comparison: Comparison
    facts: dict[str, float] = field(default_factory=dict)  # what else the report needs to know

    @property
    def case(self) -> Case:
        """The case of a row of the part "shapes"."""
        return replace(SHAPES[self.label], dtype=self.dtype, training=self.mode == "training")

    def ratio(self, peer: str) -> float | None:
        """The peer's time over ours."""
        result = self.comparison.peers.get(peer)
        return result.ratio if result else None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Record":
        values: dict[str, Any] = json.loads(text)
        comparison = values.pop("comparison")
        peers = {name: PeerResult(**result) for name, result in comparison.pop("peers").items()}
        return cls(**values, comparison=Comparison(**comparison, peers=peers))
