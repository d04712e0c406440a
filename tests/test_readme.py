"""What the README shows works: its Python runs, its commands and make targets exist."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from typer.core import TyperGroup

from fastlstm.cli.commands import app

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


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


def programs(name: str) -> list[list[str]]:
    """The arguments of each call of a program, under whatever path it is called."""
    found = commands(README.read_text(encoding="utf-8"))
    return [arguments for program, *arguments in found if Path(program).name == name]


def test_python_runs(tmp_path: Path) -> None:
    markdown = README.read_text(encoding="utf-8")
    blocks = [block for block in fenced_blocks(markdown) if block.language in ("python", "py")]
    assert blocks, "README.md shows no Python"
    # One program, so that a block sees what those above it made; every other line is left empty,
    # so that a traceback gives the README's own line numbers.
    lines = [""] * len(markdown.splitlines())
    for block in blocks:
        code = block.text.splitlines()
        lines[block.line - 1 : block.line - 1 + len(code)] = code
    program = tmp_path / "README.md.py"
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_commands_parse() -> None:
    for arguments in programs("fastlstm"):
        parse(arguments)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, flags=re.MULTILINE))
    asked = {
        word
        for arguments in programs("make")
        for word in arguments
        if not word.startswith("-") and "=" not in word
    }
    assert asked <= targets, f"no such make target: {sorted(asked - targets)}"


def parse(arguments: list[str]) -> None:
    """Parse the arguments of `fastlstm` to the last option, without running the command."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    call = shlex.join(["fastlstm", *arguments])
    try:
        context = group.make_context("fastlstm", list(arguments))
        rest = [*getattr(context, "_protected_args", []), *context.args]
        if rest:
            name, command, rest = group.resolve_command(context, rest)
            assert command is not None, f"README.md: '{call}': no such command"
            command.make_context(name, rest, parent=context)
    except typer.Exit as end:  # --help, --version
        assert end.exit_code == 0, f"README.md: '{call}' ends with {end.exit_code}"
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        pytest.fail(f"README.md: '{call}': {format_message()}")


# The tests above pass where nothing is found, so what finds must be tested as well.
EXAMPLE = """\
Run `make demo`, then `fastlstm evaluate RUN`; `fastlstm.LSTM` is no command.

```console
$ make test WORKERS=3 && FASTLSTM_DATA=there .venv/bin/fastlstm train digits \\
    --epochs 3  # quick
make printed this
```

- in a list:

  ```python
  if True:
      print("here")
  ```

~~~~bash
fastlstm train mnist | tee log
~~~~

```text
make nothing
```
"""


def test_blocks_are_found() -> None:
    blocks = list(fenced_blocks(EXAMPLE))
    assert [(block.language, block.line) for block in blocks] == [
        ("console", 4),
        ("python", 12),
        ("bash", 17),
        ("text", 21),
    ]
    assert blocks[1].text == 'if True:\n    print("here")'


def test_commands_are_found() -> None:
    assert list(commands(EXAMPLE)) == [
        ["make", "test", "WORKERS=3"],
        [".venv/bin/fastlstm", "train", "digits", "--epochs", "3"],
        ["fastlstm", "train", "mnist"],
        ["tee", "log"],
        ["make", "demo"],
        ["fastlstm", "evaluate", "RUN"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "digits"], "'fastlstm trian digits': No such command 'trian'"),
        (["train", "digits", "--epocs", "3"], "No such option: --epocs"),
        (["train"], "Missing argument 'DATASET'"),
    ],
)
def test_wrong_commands_are_found(arguments: list[str], message: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=re.escape(message)):
        parse(arguments)


@pytest.mark.parametrize("arguments", [[], ["--version"], ["train", "--help"], ["evaluate", "x"]])
def test_right_commands_pass(arguments: list[str]) -> None:
    parse(arguments)
