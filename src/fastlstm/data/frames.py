"""Recordings: sequences of vectors with a label for each frame."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastlstm.data.errors import DataError
from fastlstm.data.files import read_source
from fastlstm.data.sources import find_source
from fastlstm.data.tables import read_csv

RECORDINGS = ("a1", "a2", "a3", "b1", "b3", "c1", "c3")
_NO_FEATURE = ("timestamp", "phase")
# One label of b1_raw.csv is in the language of its authors; the derived files have letters.
_PHASES = {
    "Preparação": "Preparation",
    "D": "Rest",
    "H": "Hold",
    "P": "Preparation",
    "R": "Retraction",
    "S": "Stroke",
}


@dataclass(frozen=True)
class LabelledRecordings:
    """Recordings of unequal lengths, with a label for each frame.

    Args:
        names: what each recording is called.
        frames: an array `(T_i, F)` for each, float32.
        labels: `T_i` labels for each.
        features: the names of the F features.
    """

    names: list[str]
    frames: list[np.ndarray]
    labels: list[list[str]]
    features: list[str]

    @property
    def frame_count(self) -> int:
        """The number of frames in all recordings."""
        return sum(map(len, self.labels))


def load_gesture_phase(kind: Literal["raw", "derived"] = "raw") -> LabelledRecordings:
    """Read the seven recordings of the gesture-phase set (Madeo et al. 2013).

    People of the first letter (a, b, c) tell the story of the number. The phases are Rest,
    Preparation, Stroke, Hold and Retraction.

    Args:
        kind: `raw` for the 18 coordinates of hands, wrists, head and spine, 9,901 frames;
            `derived` for 32 velocities and accelerations of hands and wrists, 9,873 frames: each
            recording has 4 fewer.

    Raises:
        DataError: `kind` is another, or as for `read_source`.
    """
    if kind not in ("raw", "derived"):
        raise DataError(f"kind is {kind!r}: expected 'raw' or 'derived'")
    files = find_source("gesture-phase").files
    frames, labels, features = [], [], []
    for recording in RECORDINGS:
        name = f"{recording}_{'raw' if kind == 'raw' else 'va3'}"
        table = read_csv(read_source(files[name]), f"{name}.csv")
        features = [column for column in table.column_names if column.lower() not in _NO_FEATURE]
        columns = [table.column(column).to_numpy() for column in features]
        frames.append(np.stack(columns, axis=1).astype(np.float32))
        phases = table.column(table.column_names[-1]).to_pylist()
        labels.append([_PHASES.get(phase, phase) for phase in phases])
    return LabelledRecordings(list(RECORDINGS), frames, labels, features)
