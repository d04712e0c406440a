"""The operators: the scan of one layer in one direction, its rules and its back ends."""

from fastlstm.ops.arguments import ScanArguments, ScanOutputs
from fastlstm.ops.backends import backend
from fastlstm.ops.scan import scan

__all__ = ["ScanArguments", "ScanOutputs", "backend", "scan"]
