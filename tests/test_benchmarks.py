"""The benchmark: what each part measures, its floors, marks and report. Never a time."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from benchmarks import __main__ as command
from benchmarks import variants
from benchmarks.floor import Caches, Calibration, floor_seconds, level_of
from benchmarks.marks import MARKS, TORCH, Measured, outcomes
from benchmarks.records import PARTS, Record, Task
from benchmarks.report import grids, results_markdown
from benchmarks.shapes import QUICK_SHAPES, SHAPES

from fastlstm.bench import (
    PEERS,
    Case,
    Comparison,
    PeerResult,
    layer,
    timing,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(timing, "_settle", lambda: None)


# Each part, as its own process measures it


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_every_peer_computes_the_same(mode):
    shape = "100x32x128x128x2-bidirectional"
    task = Task("shapes", 1, mode, shapes=(shape,), peers=tuple(PEERS), pairs=1)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", task.to_json()],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    (record,) = map(Record.from_json, done.stdout.splitlines())
    assert record.case == replace(SHAPES[shape], training=mode == "training")
    assert record.comparison.failure == ""
    notes = {name: peer.note for name, peer in record.comparison.peers.items()}
    assert notes.pop(TORCH) == ""
    for name, note in notes.items():
        inference_only = mode == "training" and name != "JAX"
        assert note in ("not installed", "inference only" if inference_only else "")


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_the_loop_computes_each_switch(monkeypatch, no_pause, mode):
    monkeypatch.setattr(variants, "SWITCH_CASE", Case(4, 3, 6, 6))
    records = list(variants.switches(Task("switches", 1, mode, pairs=1)))
    assert {record.comparison.failure for record in records} == {""}
    notes = {peer.note for record in records for peer in record.comparison.peers.values()}
    assert notes == {""}
    left_out = variants.ONLY_IN_TRAINING if mode == "inference" else set()
    assert {record.label for record in records} == set(layer.switch_names()) - left_out


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_ragged_and_reset_batches(monkeypatch, no_pause, mode):
    monkeypatch.setattr(variants, "RESET_CASE", Case(40, 3, 4, 7))
    monkeypatch.setattr(variants, "RAGGED_CASE", Case(15, 3, 4, 7))
    task = Task("ragged", 1, mode, pairs=1)
    (reset,), (ragged,) = variants.reset(task), variants.ragged(task)
    assert (reset.comparison.failure, ragged.comparison.failure) == ("", "")
    assert {peer.note for peer in ragged.comparison.peers.values()} == {""}
    assert list(ragged.comparison.peers) == [variants.PACKED, variants.PADDED, variants.DENSE]
    assert ragged.facts["dense_steps"] == 45
    assert 15 + 2 * variants.SHORTEST <= ragged.facts["real_steps"] <= 45


# The floor


CALIBRATION = Calibration(
    threads=2,
    caches=Caches(l1=1_000, l2=100_000, l3=1_000_000),
    peak={"float32": 1e6, "bfloat16": 4e6},
    bandwidth={"L2": 1e5, "L3": 1e4, "memory": 1e3},
)


@pytest.mark.parametrize(
    ("size", "level"),
    [(2_000, "L1"), (2_001, "L2"), (200_000, "L2"), (200_001, "L3"), (1_000_001, "memory")],
)
def test_where_a_working_set_is_read_from(size, level):
    assert level_of(size, CALIBRATION) == level


def test_floor_of_one_row():
    # W: 4·20·5 numbers, with the input 1,640 bytes, in L1, so its operations count: 3·2·2·400.
    # R: 4·20·20 numbers, 6,400 bytes from L2 in each of 3 steps; 2·3·1,600 operations take less.
    case = Case(3, 1, 5, 20)
    input_product, recurrence, product = 2_400 / 1e6, 3 * 6_400 / 1e5, 9_600 / 1e6
    assert floor_seconds(case, CALIBRATION) == pytest.approx(input_product + recurrence)
    training = 3 * input_product + 2 * recurrence + product
    assert floor_seconds(replace(case, training=True), CALIBRATION) == pytest.approx(training)


def test_floor_of_many_rows_in_16_bits():
    # 2·3·100·1,600 operations for the recurrence of 20 units, at 4e6 a second; two layers in two
    # directions, the second of which reads 40 features. Bytes take less.
    case = Case(3, 100, 20, 20, layers=2, bidirectional=True, dtype="bfloat16")
    product = 960_000 / 4e6
    assert floor_seconds(case, CALIBRATION) == pytest.approx(2 * (1 + 1 + 2 + 1) * product)


# Marks and report


def row(label, seconds=1.0, ratio=2.0, threads=1, mode="inference", failure=""):
    comparison = Comparison(seconds, "", 2, {TORCH: PeerResult(ratio * seconds, ratio)})
    if failure:
        comparison = Comparison(failure=failure)
    return Record("shapes", threads, mode, "float32", label, comparison)


def outcome(measured, title):
    return next(found for found in outcomes(measured) if found.mark.title == title)


def test_marks_are_met_or_missed_by_the_worst():
    one, other = QUICK_SHAPES
    measured = Measured([row(one, ratio=2.0), row(other, ratio=0.873), row(one, threads=2)])
    slowest = outcome(measured, "Inference float32: no shape slower than the fastest peer")
    assert (slowest.value, slowest.verdict) == (0.873, "missed by 10%")
    assert slowest.where == f"{other}, inference float32, threads 1"
    mean = outcome(measured, "Inference float32: geometric mean over nn.LSTM")
    assert mean.value == pytest.approx(math.sqrt(2.0 * 0.873))
    assert (mean.where, mean.met) == ("1 thread", False)
    assert outcome(measured, "Training float32: geometric mean over nn.LSTM").verdict == (
        "not measured"
    )
    assert len({mark.title for mark in MARKS}) == len(MARKS)


def test_a_mark_with_a_wrong_result_is_not_met():
    one, other = QUICK_SHAPES
    measured = Measured([row(one, ratio=9.0), row(other, failure="FAILED: output is off")])
    for found in outcomes(measured)[:2]:
        assert found.value == pytest.approx(9.0)
        assert (found.met, found.verdict) == (False, "FAILED in 1")


def test_time_over_floor():
    calibrations = {2: replace(CALIBRATION, threads=2)}
    record = row("100x1x512x512x1", threads=2)
    record = replace(
        record,
        comparison=replace(
            record.comparison, seconds=1.5 * floor_seconds(record.case, CALIBRATION)
        ),
    )
    found = outcome(
        Measured([record], calibrations), "Inference float32, 100x1x512x512x1: time ÷ floor"
    )
    assert (found.value, found.met) == (pytest.approx(1.5), True)


def test_a_failed_row_shows_no_number():
    one, other = QUICK_SHAPES
    records = [row(one, seconds=2e-3, ratio=3.0), row(other, failure="FAILED: h_n is off")]
    table = grids(Measured(records))[0]
    assert table.title == "Inference, float32, 1 thread"
    assert table.header[1:] == ["ms", "over torch.nn.LSTM", "÷ floor"]
    assert table.rows[0] == [one, "2", "3.00×", "–"]
    assert table.rows[1] == [other, "FAILED", "–", "–"]
    assert f"fastlstm, {other}: FAILED: h_n is off" in table.notes
    text = results_markdown(Measured(records), {"CPU": "a CPU"}, "2026-01-02", "python", 15)
    assert f"| {other} | FAILED | – | – |" in text
    assert text.index("### Marks") < text.index("### Inference")


def test_records_and_tasks_pass_between_processes():
    record = replace(row("1x1x128x128x1"), facts={"real_steps": 3})
    assert Record.from_json(record.to_json()) == record
    task = Task("shapes", 2, "training", "bfloat16", ("1x1x128x128x1",), ("jax",), 15)
    assert Task.from_json(task.to_json()) == task


# The command


def test_only_the_whole_is_written():
    assert command.parse([]).write
    assert not command.parse(["--quick"]).write
    assert not command.parse(["--pairs", "14"]).write
    assert not command.parse(["--threads", "1"]).write
    assert command.parse(["--threads", "1", "--write"]).write
    assert command.parse(["--threads", "2", "1"]).write
    tasks = list(command.tasks(command.parse([])))
    assert len(tasks) == 2 * 2 * 2 + 3 * 2 * 2
    assert {task.part for task in tasks} == set(PARTS)
    for option in ("--shapes", "--threads", "--dtype", "--mode", "--peers", "--parts", "--pairs"):
        with pytest.raises(SystemExit):
            command.parse([option, "0"])


@pytest.fixture
def in_a_folder(monkeypatch, tmp_path):
    """Let the command report rows that nobody measured, and write to an empty folder."""

    def lines(task):
        if task.part == "calibration":
            return [json.dumps(asdict(replace(CALIBRATION, threads=task.threads)))]
        if task.part != "shapes":
            return []
        rows = [row(shape, threads=task.threads, mode=task.mode) for shape in task.shapes]
        return [replace(found, dtype=task.dtype).to_json() for found in rows]

    monkeypatch.setattr(command, "measure_in_process", lines)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(command, "PICTURE", tmp_path / "results.png")
    return tmp_path


def test_a_part_is_shown_and_not_written(in_a_folder, monkeypatch, capsys):
    monkeypatch.setattr(command, "cores", lambda: 1)
    options = ["--quick", "--threads", "1", "--mode", "inference", "--dtype", "float32"]
    assert command.main(options) == 0
    printed = capsys.readouterr().out
    assert "Inference, float32, 1 thread" in printed
    assert "2.00×" in printed
    assert not list(in_a_folder.iterdir())
    assert command.main(["--quick", "--threads", "2"]) == 2
    assert capsys.readouterr().err == "benchmarks: 2 threads need as many cores, there are 1\n"


def test_the_whole_is_written(in_a_folder, monkeypatch, capsys):
    monkeypatch.setattr(command, "cores", lambda: 2)
    monkeypatch.setattr(command.machine, "import_seconds", lambda: 0.1)
    monkeypatch.setattr(command.machine, "build_seconds", lambda: 190.0)
    assert command.main([]) == 0
    assert "wrote RESULTS.md and results.png" in capsys.readouterr().out
    text = (in_a_folder / "RESULTS.md").read_text(encoding="utf-8")
    for part in ("- CPU: ", "- Versions: fastlstm "):
        assert part in text
    assert "| Build from nothing: seconds | ≤ 180 | 190.00 | missed by 6% | build |" in text
    assert "- Command: `python -m benchmarks`\n" in text
    assert (in_a_folder / "results.png").read_bytes().startswith(b"\x89PNG")
