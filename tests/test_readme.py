"""What the README shows works: its Python runs, its commands and make targets exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from fastlstm.cli.commands import app
from markdown_pages import ROOT, commands, fenced_blocks, run_python

README = ROOT / "README.md"


def programs(name: str) -> list[list[str]]:
    """The arguments of each call of a program, under whatever path it is called."""
    found = commands(README.read_text(encoding="utf-8"))
    return [arguments for program, *arguments in found if Path(program).name == name]


def test_python_runs(tmp_path: Path) -> None:
    run_python(README, tmp_path)


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
    command = typer.main.get_command(app)
    call = shlex.join(["fastlstm", *arguments])
    try:
        context = command.make_context("fastlstm", list(arguments))
        while isinstance(command, TyperGroup):
            rest = [*getattr(context, "_protected_args", []), *context.args]
            if not rest:
                break
            name, command, rest = command.resolve_command(context, rest)
            assert command is not None, f"README.md: '{call}': no such command"
            context = command.make_context(name, rest, parent=context)
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
        (["train", "text", "x.csv", "--epocs", "3"], "No such option: --epocs"),
        (["train", "clasify", "digits"], "No such command 'clasify'"),
        (["evaluate"], "Missing argument 'RUN'"),
    ],
)
def test_wrong_commands_are_found(arguments: list[str], message: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=re.escape(message)):
        parse(arguments)


@pytest.mark.parametrize("arguments", [[], ["--version"], ["train", "--help"], ["evaluate", "x"]])
def test_right_commands_pass(arguments: list[str]) -> None:
    parse(arguments)
