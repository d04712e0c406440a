"""The benchmark of a GPU, without one: its plan, its checks and its clock; and a dry run of all."""

import json
import time
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from benchmarks import (
    gpu,
    gpu_check,
    gpu_contenders,
    gpu_measure,
    gpu_operator,
    gpu_plan,
    gpu_worker,
)
from benchmarks.gpu_plan import (
    DEFAULT,
    LOOP,
    NN_LSTM,
    PLAIN,
    Configuration,
    Item,
    Job,
    Plan,
    Record,
    check_of,
)

from cases import SWITCHES
from fastlstm.bench import switch_names

CPU = torch.device("cpu")
ON_CPU = ("engine", "reference")
SHAPE = Configuration("shapes", 64, 512, "bfloat16")


# The plan


def test_the_plan_holds_what_is_to_be_measured():
    plan = gpu_plan.plan()
    assert len(set(plan.timed)) == len(plan.timed)
    shapes = {(1, 256), (1, 1024), (16, 512), (64, 512), (64, 1024), (128, 1024), (64, 2048)}
    wanted = {
        Configuration("shapes", rows, hidden, dtype, training, layers, bidirectional)
        for rows, hidden in shapes
        for dtype in ("bfloat16", "float16", "float32")
        for training in (False, True)
        for layers in (1, 2)
        for bidirectional in (False, True)
    }
    assert wanted == {c for c in plan.timed if c.part == "shapes"}
    small = {(c.rows, c.hidden) for c in plan.timed if c.part == "small"}
    assert small == {(1, 32), (16, 64), (256, 128), (1024, 64)}
    short = [c for c in plan.timed if c.part == "short"]
    assert {(c.rows, c.hidden) for c in short} == shapes | small
    assert {c.steps for c in short} == {16}
    assert {check_of(c) for c in short} <= {check_of(c) for c in plan.timed if c not in short}
    switches = {c.switch for c in plan.timed if c.part == "switches"}
    assert switches == set(switch_names())
    assert [c.part for c in plan.timed[:42]] == ["shapes"] * 42  # one layer and direction first
    assert all(c.layers == c.directions == 1 for c in plan.timed[:42])
    assert {c.switch for c in plan.operators} >= {"", "+".join(gpu_plan.EVERY_SWITCH)}
    assert gpu_plan.OPERATOR_SWITCHES == SWITCHES
    for switch in gpu_plan.OPERATOR_SWITCHES:
        assert any(switch in c.switch.split("+") for c in plan.operators)


def test_each_check_stands_for_both_modes():
    plan = gpu_plan.plan()
    items = gpu.check_items(plan, CPU)
    checked = [item.configuration for item in items]
    assert len(set(checked)) == len(checked)
    assert {check_of(c) for c in plan.timed} | set(plan.operators) == set(checked)
    assert check_of(SHAPE).steps == check_of(replace(SHAPE, training=True)).steps == 16
    assert check_of(Configuration("loop", 64, 512, steps=64)).steps == 64
    # Kernels are compiled for the divisors of the numbers that they get.
    assert gpu_plan.STEPS % 16 == gpu_plan.CHECK_STEPS % 16 == 0


def test_jobs_and_records_pass_between_processes():
    job = Job("time", "cpu", (Item(SHAPE, (NN_LSTM, "engine")),), 15)
    assert Job.from_json(job.to_json()) == job
    record = Record("time", SHAPE, "engine", 1e-3, (1e-3, 2e-3), facts={"a": [1]})
    assert Record.from_json(record.to_json()) == record


def test_only_the_right_are_timed():
    plan = Plan((SHAPE, replace(SHAPE, rows=16), replace(SHAPE, rows=1)), ())
    check = check_of(SHAPE)
    found = [
        Record("check", check, NN_LSTM),
        Record("check", check, "engine"),
        Record("check", check, "triton-step", note="WRONG: h_n"),
        Record("check", check, DEFAULT),
        Record("default", replace(check, steps=512), facts={"inference": ["engine"]}),
        Record("check", check_of(plan.timed[1]), DEFAULT),
        Record("check", check_of(plan.timed[1]), "engine"),
        Record(
            "default",
            replace(check_of(plan.timed[1]), steps=512),
            facts={"inference": ["engine", "triton-step"]},
        ),
    ]
    # The default is timed by itself only where it comes to more than one back end.
    assert gpu.timed_items(plan, found, CPU) == [
        Item(plan.timed[0], (NN_LSTM, "engine")),
        Item(plan.timed[1], ("engine", DEFAULT)),
    ]
    ragged = replace(SHAPE, part="ragged")  # a layer is explained without its lengths
    found = [replace(r, configuration=check_of(ragged)) for r in found[:5]]
    assert gpu.timed_items(Plan((ragged,), ()), found, CPU) == [
        Item(ragged, (NN_LSTM, DEFAULT, "engine"))
    ]
    assert gpu.missing(
        plan, [replace(found[0], kind="time", configuration=SHAPE, seconds=1.0)]
    ) == [
        "not timed: 2 of 3 of shapes",
        "not checked: 3 of 3 of shapes",
    ]


# The check


def test_relative_errors():
    right = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert gpu_check.relative_error(right + 0.5, right) == pytest.approx(0.5**0.5 / 5)
    assert gpu_check.relative_error(torch.zeros(2), right) == 1.0
    assert gpu_check.relative_error(torch.zeros(3), torch.zeros(3)) == 0.0
    assert gpu_check.relative_error(torch.ones(3), torch.zeros(3)) == float("inf")
    assert gpu_check.relative_error(torch.ones(3), right) == float("inf")


def test_what_is_wrong_is_named():
    right = {"output": torch.ones(4), "d_input": torch.ones(4)}

    def verdict(**changed):
        return gpu_check.compare({**right, **changed}, right, 5e-7, {"d_input": 1e-4}, 2.0)

    assert verdict().note == ""
    assert verdict(d_input=torch.full((4,), 1.00019)).note == ""
    assert verdict(d_input=torch.full((4,), 1.00021)).note.startswith("WRONG: d_input is off by 2")
    assert verdict(output=torch.full((4,), 1.00019)).note.startswith("WRONG: output is off by")
    nothing = torch.tensor([1.0, 1.0, 1.0, float("nan")])
    assert verdict(output=nothing).note == "WRONG: output is off by nan, allowed 5.0e-07"
    assert verdict(extra=torch.ones(1)).note.startswith("WRONG: extra is off by inf")


@pytest.mark.parametrize(
    "configuration",
    [
        Configuration("shapes", 3, 5, "float32", steps=4, layers=2, bidirectional=True),
        Configuration("ragged", 3, 5, "bfloat16", steps=6),
    ],
    ids=lambda c: c.part,
)
def test_layers_are_held_to_float64(monkeypatch, configuration):
    problem = gpu_contenders.make_problem(configuration, CPU)
    check = gpu_check.LayerCheck(problem, CPU)
    for name in (NN_LSTM, "engine", "reference", DEFAULT):
        assert check.verdict(name).note == ""
    made = gpu_contenders.make

    def wrong(*arguments):
        contender = made(*arguments)
        return contender._replace(forward=lambda x: contender.forward(x * 1.1))

    monkeypatch.setattr(gpu_check, "make", wrong)
    assert check.verdict("engine").note.startswith("WRONG: ")


def test_the_operator_is_held_to_the_equations(monkeypatch):
    everything = "+".join(gpu_plan.EVERY_SWITCH)
    for switch, dtype in (
        ("", "float64"),
        (everything, "float64"),
        (everything, "bfloat16"),
        (everything, "float32"),
    ):
        configuration = Configuration("operator", 5, 33, dtype, switch=switch, steps=11)
        check = gpu_check.OperatorCheck(configuration, CPU)
        assert check.verdict("engine").note == ""
    scan = gpu_operator.scan
    monkeypatch.setattr(gpu_operator, "scan", lambda a: scan(a._replace(cell_clip=0.5)))
    note = check.verdict("engine").note
    assert note.startswith("WRONG: ") and "is off by" in note


def test_the_padding_on_the_device_is_nan():
    configuration = Configuration("operator", 5, 9, switch="lengths", steps=6)
    made = gpu_operator.make_arguments(configuration, ["lengths"])
    found = gpu_operator.on_device(made, CPU, "engine")
    padding = torch.arange(6).unsqueeze(-1) >= made.lengths
    assert padding.any() and torch.equal(found.input.isnan().any(-1), padding)
    assert not made.input.isnan().any()


def test_each_switch_of_the_layer_is_checked_as_the_operator_has_it():
    found = gpu_operator.LAYER_SWITCHES
    assert set(found) <= set(switch_names())
    assert {one for all_of_it in found.values() for one in all_of_it} <= set(
        gpu_plan.OPERATOR_SWITCHES
    )
    configuration = Configuration("switches", 3, 6, switch="proj_size", steps=4)
    assert gpu_check.OperatorCheck(configuration, CPU).verdict("engine").note == ""
    problem = gpu_contenders.make_problem(replace(configuration, training=True), CPU)
    found = gpu_contenders.make("engine", problem, CPU).train()
    assert len(found) == 6  # input, two weights, two biases, and the projection
    plain = gpu_contenders.make(PLAIN, problem, CPU)
    assert len(plain.train()) == 5


def test_a_packed_batch_is_timed_as_it_is_packed(monkeypatch):
    configuration = Configuration("ragged", 4, 6, steps=5)
    problem = gpu_contenders.make_problem(configuration, CPU)
    real = int(problem.lengths.sum())
    assert real < 20
    packed = gpu_contenders.make(NN_LSTM, problem, CPU, packed=True)
    assert packed.input.shape == packed.cotangents[0].shape == packed.infer()[0].shape == (real, 6)
    padded = gpu_contenders.make(NN_LSTM, problem, CPU)
    torch.testing.assert_close(packed.train()[1:], padded.train()[1:])


def test_the_loop_computes_what_the_layer_does(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: module)
    problem = gpu_contenders.make_problem(Configuration("loop", 3, 5, steps=4), CPU)
    assert gpu_check.LayerCheck(problem, CPU).verdict(LOOP).note == ""


@pytest.mark.heavy
def test_each_configuration_of_the_plan_can_be_checked_and_timed(monkeypatch):
    monkeypatch.setattr(gpu_worker, "emit", lambda **line: None)
    records = []
    monkeypatch.setattr(gpu_worker, "record", records.append)
    plan = gpu_plan.plan()
    for c in plan.operators:
        gpu_worker.check(0, Item(c, ("engine",)), Job("check", "cpu", ()), CPU)
    small = dict.fromkeys(replace(c, rows=3, hidden=8, steps=6) for c in plan.timed)
    for c in small:
        names = gpu_contenders.contenders_of(c, CPU)
        names = tuple(name for name in names if name in (NN_LSTM, PLAIN, DEFAULT, *ON_CPU))
        gpu_worker.check(0, Item(check_of(c), names), Job("check", "cpu", ()), CPU)
        gpu_worker.measure(0, Item(c, names), Job("time", "cpu", (), samples=1), CPU)
    assert {r.note for r in records} == {""}
    assert {r.configuration for r in records if r.seconds} == set(small)


# The clock


class FakeClock:
    """Calls tell how long they took."""

    def seconds(self, call):
        return call()


def test_contenders_take_turns():
    times = {"one": iter([1.0, 9.0, 2.0]), "other": iter([5.0, 4.0, 6.0])}
    turns = []
    found = gpu_measure.alternate(
        {name: lambda name=name: next(times[name]) for name in times},
        FakeClock(),
        {"one": 3, "other": 2},
        turns.append,
    )
    assert turns == ["one", "other", "other", "one", "one"]
    assert found["one"].median == 2.0
    assert found["other"] == (4.5, (4.25, 4.75))
    assert gpu_measure.alternate({}, FakeClock(), {}) == {}
    assert gpu_measure.Figure.of([3.0]) == (3.0, (3.0, 3.0))
    assert gpu_measure.rate(lambda: 0.25, FakeClock()) == 4.0
    assert gpu_measure.HostClock().seconds(lambda: time.sleep(0.01)) >= 0.01


def test_of_the_slow_fewer_samples_are_taken():
    seconds = {"one": 1.0, "slow": 4.1, "not so slow": 4.0, NN_LSTM: 9.0}
    counts = gpu_measure.sample_counts(seconds, 15)
    assert counts == {"one": 15, "slow": 3, "not so slow": 15, NN_LSTM: 15}
    assert gpu_measure.sample_counts({"one": 1.0, "slow": 9.0}, 2) == {"one": 2, "slow": 2}
    assert gpu_measure.sample_counts({}, 15) == {}


# The command


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (
        "",
        "benchmarks.gpu: needs a GPU, and PyTorch finds none\n",
    )


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton has no wheel for this machine")
def test_a_dry_run_goes_through_everything(monkeypatch, tmp_path, capsys):
    # One back end in the interpreter: the others that it can run take it too long.
    known = {NN_LSTM, PLAIN, DEFAULT, "cudnn", "triton-step", *ON_CPU}

    def some(c, device):
        names = gpu_contenders.contenders_of(c, device)
        return tuple(name for name in names if name in known)

    monkeypatch.setattr(gpu, "contenders_of", some)
    command = ["--device", "cpu", "--tiny", "--workers", "1", "--output", str(tmp_path)]
    assert gpu.main(command) == 0
    printed = capsys.readouterr().out
    assert gpu.command_of(command) == "python -m benchmarks.gpu --device cpu --tiny --workers 1"
    assert "SCANS: tuple" in printed and "### Marks" in printed and "not timed" not in printed
    lines = [json.loads(text) for text in (tmp_path / gpu.RAW).read_text().splitlines()]
    records = [Record.from_json(json.dumps(one["record"])) for one in lines if "record" in one]
    refused = "refused: cuDNN is absent or turned off, or does not take torch.float32 on cpu"
    assert {r.note for r in records} == {"", refused}
    for kind in ("check", "time"):
        names = {r.contender for r in records if r.kind == kind}
        assert names >= {NN_LSTM, "engine", "triton-step", "reference", DEFAULT}
    assert any(line.get("barrier") for line in lines)
    text = (tmp_path / gpu.RESULTS).read_text()
    assert gpu.main(["--report", str(tmp_path / gpu.RAW), "--tiny"]) == 0
    assert (tmp_path / gpu.RESULTS).read_text() == text
