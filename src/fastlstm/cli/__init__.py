"""The `fastlstm` command."""

from fastlstm.cli.main import main

__all__ = ["main"]
