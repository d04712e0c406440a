"""Run the command line: every expected failure is one line and an exit status."""

import shlex
import sys

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it

EXTRAS = ("accelerate", "pooch", "rich", "safetensors", "sklearn", "typer", "yaml")


def main() -> None:
    """Run the command that `sys.argv` holds, then exit: 0, 2 (bad input) or 130 (Ctrl-C)."""
    try:
        status = _run(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        status = _fail(f"{package} is not installed: pip install 'fastlstm[tasks]'")
    if status == INTERRUPTED:
        print("fastlstm: interrupted", file=sys.stderr)
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    # Here and not above, as a plain `pip install fastlstm` brings none of what they import.
    from fastlstm.cli.commands import app
    from fastlstm.data import DataError
    from fastlstm.tasks import SettingsError
    from fastlstm.training.loop import TrainingError
    from fastlstm.training.run_folder import RunFolderError

    try:
        # Returns None, or the status of a command that left early (--help, Ctrl-C).
        return app(arguments, prog_name="fastlstm", standalone_mode=False) or 0
    except (DataError, RunFolderError, SettingsError, TrainingError) as error:
        return _fail(str(error))
    except RuntimeError as error:
        # Torch has no class of its own for this.
        if "can't allocate memory" not in str(error):
            raise
        return _fail("not enough memory: try a smaller hidden size or batch size")
    except Exception as error:
        # Typer's releases differ in what they call the base of the errors in arguments and in
        # where they keep it; all have this method.
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        call = shlex.join(["fastlstm", *arguments])
        return _fail(f"in '{call}': {format_message()}")


def _fail(message: str) -> int:
    print("fastlstm: error:", " ".join(message.splitlines()), file=sys.stderr)
    return BAD_INPUT
