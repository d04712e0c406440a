"""A table before it is drawn: for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

EMPTY = "–"


@dataclass(frozen=True)
class Grid:
    """A table with what is to be said below it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def rich(self) -> Table:
        # Here, as a machine that measures a GPU need not have it.
        from rich.table import Table

        table = Table(title=self.title, title_justify="left", caption="\n".join(self.notes))
        table.caption_justify = "left"
        for index, name in enumerate(self.header):
            table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        lines = [f"### {self.title}", ""]
        lines.append("| " + " | ".join(self.header) + " |")
        lines.append("|---|" + "---:|" * (len(self.header) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"


def number(value: float | None) -> str:
    """A number, or a dash."""
    return EMPTY if value is None else f"{value:.2f}"
