"""Let ``torch.fx`` keep a layer as one node, as it keeps ``torch.nn.LSTM``.

Its tracer takes a module for a leaf by the name of the package it comes from, and runs the forward
of any other with proxies for its inputs.
"""

from typing import Any

import torch
from torch.fx import Proxy


def as_leaf(layer: torch.nn.Module, input: Proxy, *arguments: Any, **keywords: Any) -> Any:
    """Record a call of the layer in the graph that is being traced."""
    tracer: Any = input.tracer
    keywords = {name: value for name, value in keywords.items() if value is not None}
    path = tracer.path_of_module(layer)
    return tracer.create_proxy("call_module", path, (input, *arguments), keywords)
