"""What stands in fenced blocks of a Markdown page, and running its Python."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Block(NamedTuple):
    """A fenced block: its language, the number of its first line in the file, and its text."""

    language: str
    line: int
    text: str


def fenced_blocks(markdown: str) -> Iterator[Block]:
    """The fenced blocks in order, each without the indentation that it has in a list."""
    fence = re.compile(r"^ *(?P<marks>`{3,}|~{3,})(?P<language>[\w+-]*)[^\n`]*$")
    lines = markdown.splitlines()
    start = 0
    while start < len(lines):
        opening = fence.match(lines[start])
        start += 1
        if opening is None:
            continue
        end = start
        while not re.fullmatch(rf" *{opening['marks']}+ *", lines[end]):
            end += 1
            assert end < len(lines), f"the block that starts on line {start} has no end"
        text = textwrap.dedent("\n".join(lines[start:end]))
        yield Block(opening["language"].lower(), start + 1, text)
        start = end + 1


def run_python(page: Path, folder: Path) -> None:
    """Run the Python of a page, in a folder of its own."""
    markdown = page.read_text(encoding="utf-8")
    blocks = [block for block in fenced_blocks(markdown) if block.language in ("python", "py")]
    assert blocks, f"{page.name} shows no Python"
    # One program, so that a block sees what those above it made; every other line is left empty,
    # so that a traceback gives the page's own line numbers.
    lines = [""] * len(markdown.splitlines())
    for block in blocks:
        code = block.text.splitlines()
        lines[block.line - 1 : block.line - 1 + len(code)] = code
    program = folder / f"{page.name}.py"
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
