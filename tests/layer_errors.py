"""What the layers refuse, and how: shared by the modules and the functional forms."""

from typing import Any

import torch


def _rate_errors(name: str) -> list[tuple[str, Any, type[Exception], str]]:
    message = f"{name} should be a number in range [0, 1], got "
    return [
        (name, value, ValueError, f"{message}{value!r}")
        for value in (-0.1, 1.5, float("nan"), True, "0.5", None)
    ]


SWITCH_ERRORS: list[tuple[str, Any, type[Exception], str]] = [
    *(
        (name, value, TypeError, f"{name} should be of type bool, got: {type(value).__name__}")
        for name in ("peephole", "layer_norm", "coupled_gates", "residual")
        for value in (1, None)
    ),
    *_rate_errors("recurrent_dropout"),
    *_rate_errors("weight_dropout"),
    *_rate_errors("locked_dropout"),
    *_rate_errors("zoneout"),
    *(
        (
            "zoneout",
            value,
            ValueError,
            f"zoneout should be one rate or a pair of rates (cell, hidden), got {count} values",
        )
        for value, count in (((0.1,), 1), ([], 0), ((0.1, 0.2, 0.3), 3))
    ),
    ("zoneout", (2, 0.1), ValueError, "zoneout[0] should be a number in range [0, 1], got 2"),
    ("zoneout", [0, "1"], ValueError, "zoneout[1] should be a number in range [0, 1], got '1'"),
    *(
        (
            "cell_clip",
            value,
            ValueError,
            f"cell_clip should be a positive finite number or None, got {value!r}",
        )
        for value in (0, -1.0, float("inf"), float("nan"), True, "3")
    ),
    *(
        (
            "forget_bias",
            value,
            ValueError,
            f"forget_bias should be a finite number or None, got {value!r}",
        )
        for value in (float("inf"), float("nan"), True, "1")
    ),
    *(
        (
            "checkpoint_every",
            value,
            TypeError,
            f"checkpoint_every should be a positive int or None, got: {type(value).__name__}",
        )
        for value in (2.0, True, "2")
    ),
    *(
        (
            "checkpoint_every",
            value,
            ValueError,
            f"checkpoint_every should be a positive int or None, got {value}",
        )
        for value in (0, -3)
    ),
]
"""Each switch, a value that it refuses, and how."""


I, H, T, B = 3, 5, 4, 2  # noqa: E741
DATA = torch.zeros(T, B, I)
STATE = torch.zeros(1, B, H)

CALL_ERRORS: list[tuple[tuple[Any, Any], type[Exception], str]] = [
    (
        (torch.zeros(I), None),
        ValueError,
        "LSTM: Expected input to be 2D or 3D, got 1D instead, of shape [3]",
    ),
    (
        ([1.0], None),
        TypeError,
        "LSTM: Expected input to be a Tensor or a PackedSequence, got list",
    ),
    (
        (torch.zeros(T, B, 4), None),
        RuntimeError,
        "input.size(-1) must be equal to input_size. Expected 3, got 4",
    ),
    (
        (DATA.double(), None),
        ValueError,
        "RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert "
        "input: input.to(torch.float32), or convert model: model.to(torch.float64)",
    ),
    (
        (torch.zeros(0, B, I), None),
        RuntimeError,
        "Expected sequence length to be larger than 0 in RNN, got input [0, 2, 3]",
    ),
    (
        (DATA, (STATE[0], STATE)),
        RuntimeError,
        "For batched 3-D input, hx and cx should also be 3-D but got (2-D, 3-D) tensors in hidden",
    ),
    (
        (DATA[:, 0], (STATE, STATE)),
        RuntimeError,
        "For unbatched 2-D input, hx and cx should also be 2-D but got (3-D, 3-D) tensors in "
        "hidden",
    ),
    (
        (DATA, (STATE, torch.zeros(1, B, 4))),
        RuntimeError,
        "Expected hidden[1] size (1, 2, 5), got [1, 2, 4]",
    ),
    (
        (DATA, (STATE[:, :1], STATE)),
        RuntimeError,
        "Expected hidden[0] size (1, 2, 5), got [1, 1, 5]",
    ),
    (
        (DATA, (STATE.double(), STATE)),
        RuntimeError,
        "Input and hidden tensors must have the same dtype, found input of torch.float32 and "
        "hidden[0] of torch.float64",
    ),
    (
        (DATA, (STATE, STATE.to("meta"))),
        RuntimeError,
        "Input and hidden tensors are not at the same device, found input tensor at cpu and "
        "hidden[1] at meta",
    ),
    (
        (DATA, STATE),
        TypeError,
        "hidden must be a pair of tensors (h, c), got Tensor",
    ),
    (
        (DATA, (STATE, 1.0)),
        TypeError,
        "hidden must be a pair of tensors (h, c), got tuple of 2: ['Tensor', 'float']",
    ),
]
"""Arguments (input, hx) that a layer from 3 to 5 features refuses, and how."""

ROWS = torch.zeros(B, I)
PAIR = torch.zeros(B, H)

CELL_CALL_ERRORS: list[tuple[tuple[Any, Any], type[Exception], str]] = [
    (
        (DATA, None),
        ValueError,
        "LSTMCell: Expected input to be 1D or 2D, got 3D instead, of shape [4, 2, 3]",
    ),
    (([1.0], None), TypeError, "LSTMCell: Expected input to be a Tensor, got list"),
    (
        (torch.zeros(B, 4), None),
        RuntimeError,
        "input has inconsistent input_size: got 4 expected 3",
    ),
    (
        (ROWS.double(), None),
        ValueError,
        "RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert "
        "input: input.to(torch.float32), or convert model: model.to(torch.float64)",
    ),
    (
        (ROWS, PAIR),
        TypeError,
        "LSTMCell: hx must be a pair of tensors (h, c), got Tensor",
    ),
    (
        (ROWS, (PAIR, PAIR, PAIR)),
        TypeError,
        "LSTMCell: hx must be a pair of tensors (h, c), got tuple of 3: "
        "['Tensor', 'Tensor', 'Tensor']",
    ),
    (
        (ROWS, (PAIR, 1.0)),
        TypeError,
        "LSTMCell: hx must be a pair of tensors (h, c), got tuple of 2: ['Tensor', 'float']",
    ),
    (
        (ROWS, (PAIR[None], PAIR)),
        ValueError,
        "LSTMCell: Expected hx[0] to be 1D or 2D, got 3D instead",
    ),
    (
        (ROWS, (PAIR, PAIR[0])),
        RuntimeError,
        "LSTMCell: the input is 2-D (batched), so hx[1] must be too, got 1-D",
    ),
    (
        (ROWS[0], (PAIR, PAIR)),
        RuntimeError,
        "LSTMCell: the input is 1-D (unbatched), so hx[0] must be too, got 2-D",
    ),
    (
        (ROWS, (PAIR, PAIR[:, :4])),
        RuntimeError,
        "hidden1 has inconsistent hidden_size: got 4, expected 5",
    ),
    (
        (ROWS, (PAIR[:1], PAIR)),
        RuntimeError,
        "Input batch size 2 doesn't match hidden0 batch size 1",
    ),
    (
        (ROWS, (PAIR.double(), PAIR)),
        RuntimeError,
        "Input and hidden tensors must have the same dtype, found input of torch.float32 and "
        "hx[0] of torch.float64",
    ),
    (
        (ROWS, (PAIR, PAIR.to("meta"))),
        RuntimeError,
        "Input and hidden tensors are not at the same device, found input tensor at cpu and "
        "hx[1] at meta",
    ),
]
"""Arguments (input, hx) that a cell from 3 to 5 features refuses, and how."""
