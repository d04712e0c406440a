"""One linear map for each of a network's targets."""

from collections.abc import Mapping

from torch import Tensor, nn

from fastlstm.models.errors import check_targets


class Heads(nn.Module):
    """Scores of the classes of several targets, from the same features.

    Args:
        size: ``D``, the number of features.
        targets: each target's name and number of classes. A name is any text: parameters are
            named by their place in the order of the targets.

    Raises:
        ModelError: no targets, or a number of classes below 1.
    """

    def __init__(self, size: int, targets: Mapping[str, int]) -> None:
        super().__init__()
        check_targets(targets)
        self.names = tuple(targets)
        self.linear = nn.ModuleList(nn.Linear(size, count) for count in targets.values())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits (…, K) of each target from features (…, D)."""
        return {name: head(x) for name, head in zip(self.names, self.linear, strict=True)}
