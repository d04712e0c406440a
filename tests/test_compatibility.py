"""PyTorch's own module inputs and checks for LSTM and LSTMCell, on our classes."""

import re
from typing import Any

import pytest
import torch
from torch.testing._internal.common_modules import module_db

import fastlstm

OURS = {torch.nn.LSTM: fastlstm.LSTM, torch.nn.LSTMCell: fastlstm.LSTMCell}
INFOS = [info for info in module_db if info.module_cls in OURS]


def inputs_of(info: Any, training: bool) -> list[Any]:
    return info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_every_module_input_gives_pytorchs_numbers(info: Any, training: bool) -> None:
    inputs = inputs_of(info, training)
    assert inputs
    for module_input in inputs:
        constructor, call = module_input.constructor_input, module_input.forward_input
        theirs = info.module_cls(*constructor.args, **constructor.kwargs, dtype=torch.float64)
        ours = OURS[info.module_cls](*constructor.args, **constructor.kwargs, dtype=torch.float64)
        ours.load_state_dict(theirs.state_dict())
        found = torch.utils._pytree.tree_leaves(ours(*call.args, **call.kwargs))
        expected = torch.utils._pytree.tree_leaves(theirs(*call.args, **call.kwargs))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_every_error_input_raises_pytorchs_error(info: Any) -> None:
    if info.module_error_inputs_func is None:
        pytest.fail(f"PyTorch has no error inputs for {info.name} any more")
    errors = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=False, training=False
    )
    for error in errors:
        constructor = error.module_error_input.constructor_input
        call = error.module_error_input.forward_input
        with pytest.raises(error.error_type, match=re.compile(error.error_regex)):
            layer = OURS[info.module_cls](*constructor.args, **constructor.kwargs)
            layer(*call.args, **call.kwargs)
