"""Run the command line: every expected failure is one line and an exit status."""

import shlex
import sys

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it

# What `fastlstm[tasks]` brings.
EXTRAS = (
    "accelerate",
    "narwhals",
    "optuna",
    "PIL",
    "pooch",
    "pyarrow",
    "rich",
    "safetensors",
    "scipy",
    "sklearn",
    "tensorboard",
    "tokenizers",
    "tomli",
    "typer",
    "yaml",
)

# What the parts raise where the input is at fault, by module: a part that was not loaded has raised
# nothing, and is not loaded to see.
EXPECTED = {
    "fastlstm.cli.errors": ("CommandError",),
    "fastlstm.config.errors": ("ConfigError",),
    "fastlstm.data.errors": ("DataError",),
    "fastlstm.models.errors": ("ModelError",),
    "fastlstm.runs.errors": ("RunError",),
    "fastlstm.tasks.errors": ("TaskError",),
    "fastlstm.training.errors": ("RunFolderError", "TrainingError"),
}


def main() -> None:
    """Run the command that `sys.argv` holds, then exit: 0, 2 (bad input) or 130 (Ctrl-C)."""
    try:
        status = _run(sys.argv[1:])
    except KeyboardInterrupt:
        status = _interrupted("interrupted")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        status = _fail(f"{package} is not installed: pip install 'fastlstm[tasks]'")
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    # Here and not above, as a plain `pip install fastlstm` brings none of what it imports.
    from fastlstm.cli.commands import app
    from fastlstm.cli.errors import CommandInterruptedError

    try:
        # Returns None, or the status of a command that left early (--help).
        status = app(arguments, prog_name="fastlstm", standalone_mode=False) or 0
    except CommandInterruptedError as interruption:
        return _interrupted(str(interruption))
    except Exception as error:
        return _fail(_message(error, arguments))
    # Typer's own, of a Ctrl-C outside of a training.
    return _interrupted("interrupted") if status == INTERRUPTED else status


def _message(error: Exception, arguments: list[str]) -> str:
    """What an expected error says; any other is raised again."""
    if isinstance(error, _expected()):
        return str(error)
    # Of a CPU's memory torch has no class of its own for this.
    full = ("can't allocate memory", "out of memory")
    if isinstance(error, RuntimeError) and any(words in str(error) for words in full):
        return "not enough memory: try a smaller hidden size or batch size"
    # Typer's releases differ in what they call the base of the errors in arguments and in where
    # they keep it; all have this method.
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        raise error
    return f"in '{shlex.join(['fastlstm', *arguments])}': {format_message()}"


def _expected() -> tuple[type[Exception], ...]:
    return tuple(
        getattr(sys.modules[module], name)
        for module, names in EXPECTED.items()
        if module in sys.modules
        for name in names
    )


def _interrupted(message: str) -> int:
    print("fastlstm:", message, file=sys.stderr)
    return INTERRUPTED


def _fail(message: str) -> int:
    print("fastlstm: error:", " ".join(message.splitlines()), file=sys.stderr)
    return BAD_INPUT
