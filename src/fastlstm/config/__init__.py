"""Typed configurations: dataclasses read from files and the command line, and written back."""

from fastlstm.config.errors import ConfigError
from fastlstm.config.files import read_mapping
from fastlstm.config.mapping import from_mapping, to_mapping, with_overrides

__all__ = ["ConfigError", "from_mapping", "read_mapping", "to_mapping", "with_overrides"]
