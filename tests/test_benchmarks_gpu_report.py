"""The benchmark of a GPU: its floors, marks, proposed rules and report. Never a time."""

from dataclasses import replace

import pytest
import torch
from benchmarks.gpu_floor import Ceilings, Chip, Floor, floor_of, is_resident
from benchmarks.gpu_marks import (
    MOST,
    Measurements,
    in_persistent_window,
    marks,
    rule_lines,
    rules,
)
from benchmarks.gpu_plan import (
    DEFAULT,
    DTYPES,
    NN_LSTM,
    PLAIN,
    Configuration,
    Record,
    check_of,
)
from benchmarks.gpu_report import failures, markdown
from benchmarks.marks import outcomes

from fastlstm.ops.rules import Rule

SHAPE = Configuration("shapes", 64, 512, "bfloat16")


# The floor


CEILINGS = Ceilings(
    chip=Chip(processors=4, on_chip=1_000, l2=10_000),
    product=dict.fromkeys(DTYPES, 1e6),
    memory=1e6,
    l2=1e6,
    kernel=2e-3,
    launch=5e-3,
    barrier=1e-3,
)


def test_floor_of_a_resident_layer():
    # R: 4·10·10 numbers of 2 bytes, 800, on one processor: four groups, nobody meets.
    c = Configuration("shapes", 8, 10, "float16", steps=100)
    assert is_resident(c, CEILINGS.chip)
    # 2·8·40·20 operations; 8·2·20 bytes and W, 800, once in 100 steps; h, 160, from the L2.
    assert floor_of(c, CEILINGS) == Floor(100 * 12_800 / 1e6, "product")
    slow = replace(CEILINGS, memory=1e4)
    assert floor_of(c, slow) == Floor(100 * (320 / 1e4 + 800 / 100 / 1e4), "memory")
    # Of the backward pass: twice the operations.
    training = replace(c, training=True)
    assert floor_of(training, CEILINGS).seconds == pytest.approx(100 * 3 * 12_800 / 1e6)
    # Gates and c, 8·(80 + 40), are written and read; d_z, 8·80, written and read; twice x and
    # h, d_x and d_h; W, R and their gradients once.
    moved = (328 + 960) + (960 + 2 * 640 + 2 * 320 + 2 * 2 * 800 / 100)
    assert floor_of(training, slow).seconds == pytest.approx(100 * moved / 1e4)
    # 2·800 bytes of R, on two processors: two groups. d_z of both directions, 1,280, by each
    # processor of a group, after h, 320, in the forward pass.
    both = floor_of(replace(training, bidirectional=True), replace(CEILINGS, l2=1e4))
    assert both == Floor(pytest.approx(100 * 2 * (320 + 1_280) / 1e4), "L2")


def test_floor_of_a_layer_that_does_not_fit_the_chip():
    # R: 4·40·40 numbers of 2 bytes, 12,800: neither on 4 processors nor in the L2.
    c = Configuration("shapes", 1, 40, "bfloat16", steps=64)
    assert not is_resident(c, CEILINGS.chip)
    memory = 2 * 80 + 12_800 / 64 + 12_800
    floor = floor_of(c, replace(CEILINGS, memory=1e5))
    assert floor.bound == "memory"
    assert floor.seconds == pytest.approx(64 * (memory / 1e5 + 1e-3))
    # In a larger L2 it is read from there, with h by each of the 4 processors.
    larger = replace(CEILINGS, chip=replace(CEILINGS.chip, l2=20_000), l2=1e5)
    assert floor_of(c, larger) == Floor(64 * ((12_800 + 4 * 80) / 1e5 + 1e-3), "L2")
    without = replace(larger, barrier=None)
    assert floor_of(c, without).seconds == pytest.approx(64 * (13_120 / 1e5 + 2e-3))


def test_layers_follow_one_another_and_directions_run_together():
    c = Configuration("shapes", 8, 30, "float16", steps=50)
    one = 2 * 8 * 120 * 60 / 1e6 + 1e-3
    assert floor_of(c, CEILINGS).seconds == pytest.approx(50 * one)
    two = replace(c, layers=2, bidirectional=True)
    both = 2 * 2 * 8 * 120 * 60 / 1e6 + 1e-3 + 2 * 2 * 8 * 120 * 90 / 1e6 + 1e-3
    assert floor_of(two, CEILINGS).seconds == pytest.approx(50 * both)


# Marks, rules and report


def timed(c, **seconds):
    names = {"cudnn": NN_LSTM, "engine": "engine", "step": "triton-step", "plain": PLAIN}
    names["small"] = "triton-small"
    names["default"] = DEFAULT
    facts = {"samples": 15}
    return [Record("time", c, names[name], value, facts=facts) for name, value in seconds.items()]


def default_of(c, *names):
    checked = replace(check_of(c), steps=c.steps)
    return Record("default", checked, facts={"inference": names, "training": names})


def test_marks():
    other = replace(SHAPE, hidden=1024)
    large = replace(SHAPE, hidden=2048)
    records = [
        *timed(SHAPE, cudnn=6.0, engine=2.0, step=1.0),
        default_of(SHAPE, "engine"),
        *timed(other, cudnn=6.0, engine=3.0),
        default_of(other, "engine"),
        *timed(large, cudnn=1.0, engine=3.0),
        *timed(replace(SHAPE, dtype="float32", training=True), cudnn=6.0, engine=2.0),
        *timed(replace(SHAPE, dtype="float16"), cudnn=0.9, engine=1.0),
        *timed(Configuration("switches", 64, 512, switch="peephole"), plain=2.0, default=3.0),
        *timed(Configuration("ragged", 64, 512), cudnn=9.0, default=2.0, engine=1.0),
    ]
    found = {o.mark.title: o for o in outcomes(Measurements(records), marks())}
    forward = found[f"default: bfloat16 forward, H ≤ 1024, over {NN_LSTM}"]
    assert (forward.value, forward.verdict) == (2.0, "missed by 33%")
    assert forward.where == "(64, 1024), bfloat16 forward"
    best = found[f"fastest kernel: bfloat16 forward, H ≤ 1024, over {NN_LSTM}"]
    assert best.value == 2.0
    training = found[f"fastest kernel: float32 forward+backward, H ≤ 1024, over {NN_LSTM}"]
    assert (training.value, training.verdict) == (3.0, "met")
    half = found[f"fastest kernel: float16 where cuDNN is persistent, over {NN_LSTM}"]
    assert half.verdict == "missed by 10%"
    assert found["default: peephole ÷ the plain cell"].verdict == "missed by 7%"
    assert found["default: layer_norm ÷ the plain cell"].verdict == "not measured"
    assert found[f"default: ragged, over {NN_LSTM} on a PackedSequence"].value == 4.5
    assert found["default: time ÷ floor"].verdict == "not measured"
    assert len(found) == len(marks())


def test_a_wrong_default_meets_no_mark():
    records = [*timed(SHAPE, cudnn=6.0), Record("check", check_of(SHAPE), DEFAULT, note="WRONG: x")]
    # Or it is right over a few steps, and then not over all of them.
    served = [*timed(SHAPE, cudnn=6.0), default_of(SHAPE, "engine")]
    served.append(Record("time", SHAPE, "engine", note="WRONG: x"))
    for measured in (Measurements(records), Measurements(served)):
        found = outcomes(measured, marks())[0]
        assert (found.value, found.failed, found.verdict) == (None, 1, "FAILED in 1")


def test_cudnn_is_persistent_in_its_window():
    fits = replace(SHAPE, dtype="float16")
    assert in_persistent_window(fits)
    for change in (
        {"dtype": "bfloat16"}, {"rows": 12}, {"rows": 136}, {"hidden": 520}, {"hidden": 2048},
        {"layers": 2}, {"bidirectional": True}, {"part": "ragged"},
    ):  # fmt: skip
        assert not in_persistent_window(replace(fits, **change))


def test_rules_cover_every_size():
    records = []
    for rows, hidden, fastest in ((1, 256, "step"), (16, 1024, "step"), (64, 1024, "small")):
        c = replace(SHAPE, rows=rows, hidden=hidden)
        times = {"cudnn": 2.0, "step": 3.0, "small": 3.0, fastest: 1.0}
        records += timed(c, **times)
    two = replace(SHAPE, layers=2)
    records += timed(two, cudnn=1.0, step=2.0)
    records += timed(replace(SHAPE, bidirectional=True), cudnn=6.0, step=2.0)
    found = rules(Measurements(records))
    of = (torch.bfloat16,), False
    assert found.scans == [
        Rule("triton-step", *of, (1, MOST), (1, 512), (1, MOST)),
        Rule("triton-step", *of, (1, 32), (513, MOST), (1, MOST)),
        Rule("triton-small", *of, (33, MOST), (513, MOST), (1, MOST)),
    ]
    # Of two scans: half as fast in one stack, three times in the other.
    assert found.stacks == [
        Rule("scan", *of, (1, MOST), (1, MOST), (1, MOST)),
        Rule("scan", *of, (1, MOST), (1, MOST), (1, MOST), (2, 2)),
    ]
    slower = [*records, *timed(two, cudnn=1.0, step=4.0)]
    assert rules(Measurements(slower)).stacks[1].fastest == "cudnn"
    space = {"Rule": Rule, "MOST": MOST, "torch": torch}
    exec("from __future__ import annotations\n" + "\n".join(rule_lines(found)), space)
    assert (space["SCANS"], space["STACKS"]) == (tuple(found.scans), tuple(found.stacks))
    # Short sequences were measured for one scan alone: of two nothing is known then.
    short = replace(SHAPE, part="short", steps=32)
    found = rules(Measurements([*records, *timed(short, cudnn=1.0, step=2.0, small=3.0)]))
    assert found.scans[0] == Rule("triton-step", *of, (1, MOST), (1, MOST), (1, 128))
    assert {rule.steps for rule in found.scans[1:]} == {(129, MOST)}
    assert [(rule.fastest, rule.steps, rule.scans) for rule in found.stacks] == [
        ("cudnn", (1, 128), (1, 1)),
        ("scan", (129, MOST), (1, 1)),
        ("scan", (129, MOST), (2, 2)),
    ]


def test_the_report_shows_times_and_why_there_are_none():
    refused = "refused: it runs on the CPU, and the input is on cuda:0"
    records = [
        *timed(SHAPE, cudnn=6e-3, step=2e-3),
        default_of(SHAPE, "triton-step"),
        Record("check", check_of(SHAPE), "triton-step", error=1e-3, allowed=1e-2),
        Record("check", check_of(SHAPE), "engine", note=refused),
        Record("time", replace(SHAPE, rows=1), "triton-step", note="HUNG: nothing for 9 s"),
        *timed(Configuration("switches", 64, 512, switch="peephole"), plain=2e-3, default=3e-3),
    ]
    measured = Measurements(records, CEILINGS)
    text = markdown(measured, {"Device": "A GPU"}, ["not timed: 1 of 2"], "python", "About.\n")
    floor = floor_of(SHAPE, CEILINGS).seconds / 512 * 1e6
    row = "| (64, 512) | bfloat16 | 3.91 | triton-step | 3.91 | 11.72 | 3.00× | 3.00× |"
    assert f"{row} {floor:.2f} |" in text
    assert "| HUNG |" in text and "| peephole | float32 | 3.91 | 5.86 | 1.50× |" in text
    assert failures(records) == [
        f"engine: {refused} ((64, 512), bfloat16)",
        "triton-step: HUNG: nothing for 9 s ((1, 512), bfloat16)",
    ]
    for part in (
        "- Device: A GPU",
        "### Marks",
        "### Not measured",
        "SCANS: tuple",
        "not timed: 1",
    ):
        assert part in text
