"""Every example runs and ends well; the walk from scratch shows what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.py"))


def run(name: str, folder: Path) -> str:
    """Run an example as a user does, from some other folder, and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / name)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


SECTIONS = [
    "1. One step, one gate at a time",
    "2. A loop over time",
    "3. The same weights in fastlstm.LSTMCell",
    "4. The whole sequence in one call: fastlstm.LSTM",
    "5. The gradients",
    "6. What torch.nn.LSTM cannot do",
]

SHAPES = [
    ("x", "(3, 5)"),
    ("h, c", "(3, 6)"),
    ("[h, x]", "(3, 11)"),
    ("i = σ(W_i x + R_i h + b_i)", "(3, 6)"),
    ("f = σ(…)", "(3, 6)"),
    ("g = tanh(…)", "(3, 6)"),
    ("o = σ(…)", "(3, 6)"),
    ("c' = f ⊙ c + i ⊙ g", "(3, 6)"),
    ("h' = o ⊙ tanh(c')", "(3, 6)"),
    ("x", "(7, 3, 5)"),
    ("output", "(7, 3, 6)"),
    ("h_n, c_n", "(3, 6)"),
    ("one Linear's weight", "(6, 11)"),
    ("weight_ih", "(24, 5)"),
    ("weight_hh", "(24, 6)"),
    ("bias_ih, bias_hh", "(24,)"),
    ("output", "(7, 3, 6)"),
    ("h_n, c_n", "(1, 3, 6)"),
    ("dx", "(7, 3, 5)"),
]

AGREEMENTS = [
    "output: LSTMCell, by hand",
    "h_n: LSTMCell, by hand",
    "c_n: LSTMCell, by hand",
    "output: LSTM, by hand",
    "output: LSTM, LSTMCell",
    "output: LSTM, torch.nn.LSTM",
    "h_n: LSTM, by hand",
    "c_n: LSTM, by hand",
    *(
        f"{gradient}: LSTM, {other}"
        for other in ("by hand", "torch.nn.LSTM")
        for gradient in ("dx", "dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh")
    ),
    "forget gate: trace, by hand",
    "sequence 0: in the batch, alone",
]


def check_from_scratch(printed: str) -> None:
    """Every shape is shown, every comparison was made, and all agree."""
    lines = printed.splitlines()
    assert lines[0].endswith("T = 7 steps, B = 3 sequences, I = 5 features, H = 6 units")
    assert [line for line in lines if re.match(r"\d\. ", line)] == SECTIONS

    shapes = [re.match(r"   (\S.*?)  +(\([\d, ]+\))(?:  |$)", line) for line in lines]
    assert [match.groups() for match in shapes if match] == SHAPES

    checks = [re.match(r"   (\S.*?)  +max difference (\S+)  agree$", line) for line in lines]
    found = [match for match in checks if match]
    assert [re.sub(" +", " ", match[1]) for match in found] == AGREEMENTS
    assert all(0 <= float(match[2]) < 1e-12 for match in found)
    assert printed.count("max difference") == len(AGREEMENTS)

    gates = [re.match(r"   sequence \d   (.*)", line) for line in lines]
    rows = [match[1].split() for match in gates if match]
    assert [len([value for value in row if value != "·"]) for row in rows] == [4, 7, 2]
    assert all(len(row) == 7 for row in rows)
    assert all(0 < float(value) < 1 for row in rows for value in row if value != "·")
    assert max(map(len, lines)) <= 80, "wider than a terminal"


def check_tag_words(printed: str) -> None:
    """What the tagger gets right by the place of a word, its baseline does not."""
    tagger, baseline = (
        float(found) for found in re.findall(r": ([\d.]+)%$", printed, re.MULTILINE)
    )
    assert tagger > 97 > 95 > baseline
    assert [line.split()[1] for line in printed.splitlines()[2:]] == ["DET", "NOUN", "VERB", "PRON"]


def check_tag_frames(printed: str) -> None:
    """Frames that nobody could tell one by one are told."""
    shares = [float(found) for found in re.findall(r"([\d.]+)%", printed)]
    assert shares[0] > 92 and shares[1] > 92 and shares[2] < 70


CHECKS = {
    "from_scratch.py": check_from_scratch,
    "tag_frames.py": check_tag_frames,
    "tag_words.py": check_tag_words,
}


def test_every_example_with_a_check_is_there() -> None:
    assert CHECKS.keys() <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, tmp_path: Path) -> None:
    printed = run(name, tmp_path)
    assert printed.strip()
    if name in CHECKS:
        CHECKS[name](printed)
