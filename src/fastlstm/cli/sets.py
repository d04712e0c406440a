"""What `fastlstm data` does."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from fastlstm.cli.options import PLAIN
from fastlstm.data import get_source, list_sources


def show_sets(console: Console) -> None:
    """Print every named data set: for which task, how large, whose, under which licence."""
    table = Table(box=None, pad_edge=False)
    for head in ("name", "task", "what it is"):
        table.add_column(head, no_wrap=head != "what it is")
    for source in list_sources():
        what = f"{source.title}; {source.size}; {source.licence}"
        table.add_row(source.name, source.task, what)
    console.print(table, highlight=False, markup=False)


def get_set(name: str, console: Console) -> None:
    """Fetch a data set, check it and print where its files are.

    Raises:
        DataError: there is no such set, or it cannot be had.
    """
    paths = get_source(name)
    for path in paths:
        console.print(str(path), **PLAIN)
    if not paths:
        console.print(f"{name} comes inside scikit-learn: there is nothing to fetch", **PLAIN)
