"""Who is asked first: the tables of measurements, and what is forced."""

import threading

import torch

import fastlstm
from fastlstm.ops import backends, rules


def test_rules() -> None:
    table = (
        rules.Rule("one", (torch.float32,), True, rows=(1, 16), hidden=(1, 128), steps=(1, 90)),
        rules.Rule(
            "two", (torch.float32, torch.float64), True, (1, 64), (1, 256), (1, 99), scans=(1, 4)
        ),
    )
    call = rules.Call(torch.float32, trains=True, rows=16, hidden=128, steps=90)
    assert rules.fastest(table, call) == "one"
    assert rules.fastest(table, call._replace(rows=17)) == "two"
    assert rules.fastest(table, call._replace(dtype=torch.float64)) == "two"
    assert rules.fastest(table, call._replace(steps=91)) == "two"
    assert rules.fastest(table, call._replace(steps=100)) is None
    assert rules.fastest(table, call._replace(scans=4)) == "two"
    assert rules.fastest(table, call._replace(scans=5)) is None
    assert rules.fastest(table, call._replace(trains=False)) is None
    assert rules.fastest(table, call._replace(hidden=257)) is None


def test_what_a_thread_needs_forced_by_nothing_stays_forced_elsewhere() -> None:
    seen = []
    with fastlstm.backend("reference"):
        with backends.nothing_forced():
            thread = threading.Thread(target=lambda: seen.append(backends.forced()))
            thread.start()
            thread.join()
            assert backends.forced() == ""
        assert seen == [backends.forced()] == ["reference"]
