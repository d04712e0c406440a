"""What holds for every test: one seed, and memory that nobody has written is NaN."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded_and_poisoned() -> Iterator[None]:
    """Seed the generators; have ``torch.empty`` hand out NaN, so that a missed write shows."""
    torch.manual_seed(20)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
