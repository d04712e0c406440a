"""What ``fastlstm bench`` does: one LSTM, checked and then measured beside its peers."""

from enum import Enum
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from fastlstm.bench import (
    PAIRS,
    PEERS,
    Case,
    Comparison,
    compare_layer,
    cores,
    make_problem,
    pinned,
    switch_arguments,
    switch_names,
)
from fastlstm.cli.errors import CommandError
from fastlstm.nn import LSTM


class Precision(str, Enum):
    """The precisions to choose from."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class BenchSettings(NamedTuple):
    """The options of the command."""

    steps: int
    batch: int
    input_size: int
    hidden_size: int
    layers: int
    bidirectional: bool
    dtype: Precision
    training: bool
    threads: int | None
    switches: tuple[str, ...]


def bench_layer(settings: BenchSettings, console: Console) -> bool:
    """Check, measure and print; False if the results were wrong and nothing was measured.

    Raises:
        CommandError: there are fewer cores than threads, no such switch, or the switches do not
            fit the sizes.
    """
    case = Case(
        settings.steps,
        settings.batch,
        settings.input_size,
        settings.hidden_size,
        settings.layers,
        settings.bidirectional,
        settings.dtype.value,
        settings.training,
    )
    threads = cores() if settings.threads is None else settings.threads
    if threads > cores():
        raise CommandError(f"threads is {threads}: this process may use {cores()} cores")
    _check_switches(case, settings.switches)
    peers = [peer for peer in PEERS.values() if peer.installed]
    console.print(_describe(case, threads, settings.switches), highlight=False, soft_wrap=True)
    with pinned(threads), console.status("measuring"):
        comparison = compare_layer(
            make_problem(case),
            peers,
            threads,
            PAIRS,
            switch_arguments(settings.switches, case.hidden_size),
        )
    console.print(_table(comparison))
    if settings.switches:
        console.print("[dim]The others run the LSTM without switches.[/]")
    absent = [peer.name for peer in PEERS.values() if not peer.installed]
    if absent:
        console.print(f"[dim]not installed: {', '.join(absent)}[/]")
    if comparison.failure:
        console.print(comparison.failure, highlight=False, markup=False, soft_wrap=True)
    return not comparison.failure


def _check_switches(case: Case, switches: tuple[str, ...]) -> None:
    for name in switches:
        if name not in switch_names():
            expected = ", ".join(switch_names())
            raise CommandError(f"unknown switch {name!r}: expected {expected}")
    if "locked_dropout" in switches and case.layers == 1:
        raise CommandError("locked_dropout works between layers: expected 2 layers or more")
    try:
        # Without memory: only to hear what the layer says about them.
        LSTM(
            case.input_size,
            case.hidden_size,
            case.layers,
            bidirectional=case.bidirectional,
            device=torch.device("meta"),
            **switch_arguments(switches, case.hidden_size),
        )
    except ValueError as error:
        raise CommandError(str(error)) from error


def _describe(case: Case, threads: int, switches: tuple[str, ...]) -> str:
    units = f"{case.layers} layer{'s'[: case.layers - 1]} of {case.hidden_size:,} units"
    parts = [
        f"[bold]{units}{' in both directions' if case.bidirectional else ''}[/]",
        f"input ({case.steps}, {case.batch}, {case.input_size})",
        case.dtype,
        case.mode,
        f"{threads} thread{'s'[: threads - 1]}",
        *switches,
    ]
    return ", ".join(parts)


def _table(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("ms", justify="right")
    table.add_column("fastlstm is", justify="right")
    table.add_row("[bold]fastlstm[/]", _milliseconds(comparison.seconds, comparison.failure), "")
    for name, peer in comparison.peers.items():
        faster = peer.note or f"{peer.ratio:.2f}× as fast"
        table.add_row(name, _milliseconds(peer.seconds, peer.note), faster)
    return table


def _milliseconds(seconds: float | None, failure: str) -> str:
    if seconds is None:
        return "FAILED" if failure.startswith("FAILED") else "–"
    return f"{seconds * 1e3:.3g}"
