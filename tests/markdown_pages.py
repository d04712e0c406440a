"""What stands in fenced blocks of a Markdown page, its commands, and running its Python."""

import os
import re
import shlex
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


def commands(markdown: str) -> Iterator[list[str]]:
    """Each command of the shell blocks, and each `make …`, `fastlstm …` in running text."""
    for block in fenced_blocks(markdown):
        if block.language not in ("console", "bash", "sh", "shell", "shell-session"):
            continue
        lines = block.text.replace("\\\n", " ").splitlines()
        # Beside a prompt, the lines without one are what the commands printed.
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in prompted or lines:
            yield from split(line)
    prose = re.sub(r"^ *(`{3,}|~{3,}).*?^ *\1`* *$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`((?:make|fastlstm) [^`\n]+)`", prose):
        yield from split(code)


def split(line: str) -> Iterator[list[str]]:
    """The commands of a line of shell, without comments, redirections and `VARIABLE=value`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();|&"):
            if command:
                yield command
            command = []
        elif command or not re.match(r"\w+=", word):
            command.append(word)


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
