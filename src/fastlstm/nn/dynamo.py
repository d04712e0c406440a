"""Let ``torch.compile`` trace ``fastlstm.LSTM``.

Dynamo refuses every module that is a ``torch.nn.LSTM``, since it would unroll that one's loop over
time. ``fastlstm.LSTM`` is one too, for all who ask ``isinstance``, but its loop is inside an
operator. Dynamo has a setting for this, ``allow_rnn``; it is turned on here for just as long as
one of our layers is being wrapped, so that nothing changes for ``torch.nn.LSTM``.

Importing Dynamo takes longer than importing all else, so nothing happens before somebody else
does.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_BUILDER = "torch._dynamo.variables.builder"


def allow_in_dynamo(layer: type) -> None:
    """Have Dynamo trace modules of this class, now or once it is imported."""
    if _BUILDER in sys.modules:
        _wrap_builder(sys.modules[_BUILDER], layer)
    else:
        sys.meta_path.insert(0, _AfterImport(layer))


def _wrap_builder(builder: ModuleType, layer: type) -> None:
    wrap_module = builder.VariableBuilder.wrap_module

    @functools.wraps(wrap_module)
    def wrap_module_or_layer(self: Any, value: Any) -> Any:
        if not isinstance(value, layer):
            return wrap_module(self, value)
        with builder.config.patch(allow_rnn=True):
            return wrap_module(self, value)

    builder.VariableBuilder.wrap_module = wrap_module_or_layer


class _AfterImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds Dynamo's builder as it would be found without us, and wraps it when it has run."""

    def __init__(self, layer: type) -> None:
        self.layer = layer
        self.loader: importlib.abc.Loader | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for the builder alone: with its own loader, behind this one."""
        if name != _BUILDER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the builder's own loader does."""
        return self.loader.create_module(spec) if self.loader else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the builder, and then wrap it."""
        assert self.loader is not None and module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        _wrap_builder(module, self.layer)
