"""What the table measures."""

from fastlstm.bench import Case

SHAPES = {
    case.shape: case
    for case in (
        Case(28, 64, 28, 64),
        Case(100, 1, 128, 128),
        Case(100, 1, 512, 512),
        Case(100, 1, 1024, 1024),
        Case(100, 16, 256, 256),
        Case(100, 64, 256, 256),
        Case(100, 64, 512, 512),
        Case(50, 128, 1024, 1024),
        Case(35, 20, 650, 650, layers=2),
        Case(1000, 1, 16, 32),
        Case(784, 128, 1, 128),
        Case(100, 32, 128, 128, layers=2, bidirectional=True),
        Case(1, 1, 128, 128),
    )
}
"""Steps, batch, input size, hidden size and layers, by their one-word names."""

QUICK_SHAPES = ("28x64x28x64x1", "1x1x128x128x1")
"""What `--quick` keeps: two that take no time."""
