"""The processes of the benchmark of a GPU: what hangs or crashes is ended, the rest goes on."""

import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from importlib.util import find_spec

import pytest
from benchmarks import gpu_sanitize
from benchmarks.gpu_children import MOST_HANGS, ROOT, Children
from benchmarks.gpu_plan import Configuration, Item, Record

SHAPE = Configuration("shapes", 64, 512, "bfloat16")


WORKER = """
    import json, os, sys, time
    job = json.load(open(sys.argv[1]))
    def say(**line):
        print(json.dumps(line), flush=True)
    if job["ceilings"]:
        say(begin=-1, contender="barrier")
        time.sleep(60)
    for index, item in enumerate(job["items"]):
        for name in item["contenders"]:
            say(begin=index, contender=name)
            print("chatter")
            if name == "hangs":
                time.sleep(60)
            if name == "crashes" and item["configuration"]["rows"] == 1:
                sys.stderr.write("first\\nsegmentation\\n")
                sys.stderr.flush()
                os._exit(7)
            found = {"kind": job["stage"], "configuration": item["configuration"]}
            note = "its own" if name == "loses" else ""
            say(record={**found, "contender": name, "note": note, "quartiles": [0, 0]})
            if name == "loses":
                os._exit(3)
        say(end=index)
"""


@pytest.fixture
def children(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    lines = []

    def make(limit, deadline=60.0):
        end = time.monotonic() + deadline
        return Children("cpu", limit, end, lines.append, (sys.executable, str(script)))

    return make, lines


def test_who_hangs_or_crashes_is_ended_and_the_rest_goes_on(children):
    make, lines = children
    names = ("right", "hangs", "crashes", "loses", "last")
    items = [Item(replace(SHAPE, rows=rows), names) for rows in (1, 2, 3)]
    make(limit=1.0).check(items)
    found = {}
    for line in lines:
        record = Record.from_json(json.dumps(line["record"]))
        found.setdefault(record.configuration.rows, {})[record.contender] = record.note
    assert found[1] == {
        "right": "",
        "hangs": "HUNG: nothing for 1 s",
        "crashes": "CRASHED: the process ended with status 7: segmentation",
        "loses": "its own",
        "last": "",
    }
    assert found[2] == {**found[1], "crashes": ""}
    assert found[3] == {**found[2], "hangs": "left out: it hung elsewhere"}
    assert MOST_HANGS == 2


def test_a_barrier_that_hangs_costs_no_more_than_its_figure(children):
    make, lines = children
    make(limit=1.0).time([Item(SHAPE, ("right",))], 15)
    assert lines[0] == {"failure": "barrier: HUNG: nothing for 1 s"}
    assert Record.from_json(json.dumps(lines[1]["record"])) == Record("time", SHAPE, "right")


def test_nothing_runs_past_the_deadline(children):
    make, lines = children
    start = time.monotonic()
    make(limit=50.0, deadline=1.0).check([Item(SHAPE, ("hangs", "right"))])
    assert time.monotonic() - start < 10
    make(limit=5.0, deadline=-1.0).check([Item(SHAPE, ("right",))])
    assert lines == []


COMPILED = """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from benchmarks.gpu_barrier import barriers
    signature = {"counter": "*i32", "ROUNDS": "constexpr", "PROGRAMS": "constexpr"}
    source = ASTSource(barriers, signature, {(1,): 1000, (2,): 132})
    options = {"num_warps": 4, "launch_cooperative_grid": True}
    print(triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"])
"""


@pytest.mark.heavy
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton has no wheel for this machine")
def test_the_barrier_compiles_for_a_gpu_that_is_not_here(tmp_path):
    variables = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = tmp_path / "compiled.py"  # Triton reads the source of its kernels
    script.write_text(textwrap.dedent(COMPILED))
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, env={**variables, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "atom.global.gpu.release.add" in done.stdout
    assert "ld.global.gpu.acquire" in done.stdout  # and not an addition at each look


def test_a_sanitizer_that_is_not_there_or_finds_something(tmp_path, monkeypatch):
    say = []
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert gpu_sanitize.sanitize(["triton-step"], "cpu", time.monotonic() + 9, print) is None
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        "#!/bin/sh\n"
        "for job; do :; done\n"
        """grep -q '"one"' "$job" && echo '{"kind": "check", "note": ""}'\n"""
        'case "$2" in memcheck) echo "0 errors" > "$6"; exit 0;; esac\n'
        'printf "hazard in kernel\\nERROR SUMMARY: 1 error\\n" > "$6"; exit 86\n'
    )
    tool.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(tool))
    found = gpu_sanitize.sanitize(["one"], "cpu", time.monotonic() + 40, say.append)
    assert [finding.clean for finding in found] == [True, False]
    assert say[1].splitlines() == [
        "racecheck, one: NOT CLEAN",
        "    hazard in kernel",
        "    ERROR SUMMARY: 1 error",
    ]
    (first, *_) = gpu_sanitize.sanitize(["refused"], "cpu", time.monotonic() + 40, say.append)
    assert not first.clean and first.lines == ("nothing was checked", "0 errors")
