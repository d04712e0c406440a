"""Exchange a layer's class for the one that stands for it in PyTorch, or here.

A layer is not copied: its class is exchanged, as ``torch.nn.utils.parametrize`` does too. So all
that a module is (parameters, buffers, hooks, parametrizations, training mode, and every reference
that others hold to it) stays what it was.
"""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.utils.parametrize import is_parametrized

from fastlstm.nn.switches import OFF

# These leave the numbers as `torch.nn.LSTM` has them, so nothing is lost without them.
_HARMLESS = ("forget_bias", "checkpoint_every")


def plain_class(module: torch.nn.Module) -> type:
    """The class of a module; of a parametrized one, the class that it had before."""
    kind = type(module)
    return kind.__bases__[0] if is_parametrized(module) else kind


def refuse_switches(action: str, name: str, module: torch.nn.Module, theirs: type) -> None:
    """Raise a ``ValueError`` where a switch is on that PyTorch's class cannot express."""
    for switch, off in OFF.items():
        value = getattr(module, switch, off)
        if value != off and switch not in _HARMLESS:
            layer = f"layer {name!r}" if name else "this layer"
            raise ValueError(
                f"{action}: {layer} has {switch}={value!r}, "
                f"which torch.nn.{theirs.__name__} cannot express"
            )


def drop_switches(module: torch.nn.Module) -> None:
    """Forget the switches, all of them off, of a layer that is PyTorch's now."""
    for switch in OFF:
        module.__dict__.pop(switch, None)


def exchange_class(module: torch.nn.Module, exchange: Mapping[type, type]) -> bool:
    """Give a module the class that stands for its own; False where none does."""
    new = exchange.get(plain_class(module))
    if new is None:
        return False
    if is_parametrized(module):
        # The class that `parametrize` derived holds the parametrized properties: derive it anew.
        members = {
            name: value
            for name, value in vars(type(module)).items()
            if name not in ("__dict__", "__weakref__", "__doc__", "__module__")
        }
        new = type(f"Parametrized{new.__name__}", (new,), members)
    module.__class__ = new  # type: ignore[assignment]
    return True


def scriptable(layer: torch.nn.Module, theirs: Any) -> Any:
    """PyTorch's layer, of the class ``theirs``, on the same parameters for ``torch.jit.script``.

    TorchScript compiles a module's source, and ours ends in an operator of Python.

    Raises:
        ValueError: a switch is on that PyTorch's layer cannot express.
    """
    refuse_switches("torch.jit.script", "", layer, theirs)
    warnings.warn(
        f"torch.jit.script compiles a torch.nn.{theirs.__name__} in place of "
        f"{type(layer).__name__}: the same numbers, but PyTorch's kernels",
        stacklevel=2,
    )
    twin = copy.copy(layer)
    exchange_class(twin, {plain_class(layer): theirs})
    drop_switches(twin)
    return twin
