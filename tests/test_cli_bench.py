"""``fastlstm bench``: what it prints and how it ends. Never a time."""

import re

import pytest

from fastlstm.bench import PEERS, Comparison, contender, problem, timing
from fastlstm.cli import bench

TINY = ("bench", "--steps", 5, "--batch", 3, "--input-size", 7, "--hidden-size", 7)


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch):
    """Two pairs with PyTorch; another library's threads would stay in this process."""
    monkeypatch.setattr(bench, "PAIRS", 2)
    monkeypatch.setattr(timing, "_settle", lambda: None)
    absent = PEERS["jax"]._replace(modules=("there_is_no_such_module",))
    monkeypatch.setattr(bench, "PEERS", {"torch": PEERS["torch"], "jax": absent})


def test_bench_prints_a_table(run, tmp_path):
    status, out, err = run(*TINY, "--threads", 1)
    assert (status, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == "1 layer of 7 units, input (5, 3, 7), float32, inference, 1 thread"
    assert lines[1].split() == ["ms", "fastlstm", "is"]
    assert re.fullmatch(r"fastlstm +[\d.]+(e-\d+)?", lines[2])
    assert re.fullmatch(r"torch\.nn\.LSTM +[\d.]+(e-\d+)? +\d+\.\d\d× as fast", lines[3])
    assert lines[4:] == ["not installed: JAX"]
    assert not list(tmp_path.iterdir())


def test_bench_of_a_variant(run):
    options = ("--layers", 2, "--bidirectional", "--dtype", "bfloat16", "--training")
    options += ("--threads", 1, "--switch", "peephole", "--switch", "locked_dropout")
    status, out, err = run(*TINY, *options)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == (
        "2 layers of 7 units in both directions, input (5, 3, 7), bfloat16, training, 1 thread, "
        "peephole, locked_dropout"
    )
    assert "The others run the LSTM without switches." in out


def test_bench_of_a_wrong_result_shows_no_speed(run, monkeypatch):
    def wrong(*arguments, **options):
        right = problem.layer_results(*arguments, **options)
        return {name: value * 0 for name, value in right.items()}

    monkeypatch.setattr(contender, "layer_results", wrong)
    status, out, err = run(*TINY, "--threads", 1)
    assert (status, err) == (1, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert re.fullmatch(r"fastlstm +FAILED", lines[2])
    assert lines[-1].startswith("FAILED: output is off by ")
    assert "as fast" not in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--threads", 2), "threads is 2: this process may use 1 cores"),
        (
            ("--switch", "dropconnect"),
            "unknown switch 'dropconnect': expected proj_size, peephole, layer_norm, "
            "coupled_gates, recurrent_dropout, weight_dropout, locked_dropout, zoneout, cell_clip, "
            "residual, forget_bias, checkpoint_every",
        ),
        (
            ("--switch", "locked_dropout"),
            "locked_dropout works between layers: expected 2 layers or more",
        ),
        (
            ("--switch", "residual", "--input-size", 5),
            "residual adds a layer's input to its output, so with one layer input_size must equal "
            "the output's width, got 5 and 7",
        ),
    ],
)
def test_bad_settings_are_one_line(run, monkeypatch, options, message):
    monkeypatch.setattr(bench, "cores", lambda: 1)
    assert run(*TINY, *options) == (2, "", f"fastlstm: error: {message}\n")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--steps", "0"), "--steps"),
        (("--batch", "-1"), "--batch"),
        (("--hidden-size", "many"), "--hidden-size"),
        (("--dtype", "int8"), "--dtype"),
        (("--swich", "zoneout"), "--swich"),
    ],
)
def test_wrong_usage_is_one_line_that_repeats_the_call(run, options, word):
    status, out, err = run("bench", *options)
    assert (status, out) == (2, "")
    call = re.escape(" ".join(options))
    assert re.fullmatch(f"fastlstm: error: in 'fastlstm bench {call}': .*{word}.*\n", err)


def test_default_threads_are_the_cores(run, monkeypatch):
    seen = []

    def note(problem, peers, threads, pairs, switches):
        seen.append((threads, pairs, switches))
        return Comparison(1.0, pairs=pairs)

    monkeypatch.setattr(bench, "compare_layer", note)
    monkeypatch.setattr(bench, "cores", lambda: 1)
    assert run(*TINY)[0] == 0
    assert seen == [(1, 2, {})]
