"""What a peer is."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

from fastlstm.bench.contender import Contender
from fastlstm.bench.problem import Problem, Results, UnavailableError


class Peer(NamedTuple):
    """One implementation of the plain LSTM."""

    name: str  # as a table shows it
    modules: tuple[str, ...]  # what must be installed for it
    make: Callable[[Problem, int, Callable[[], Results]], Contender]

    @property
    def installed(self) -> bool:
        """Whether all it needs can be imported; nothing is."""
        return all(importlib.util.find_spec(module) for module in self.modules)

    def contender(
        self, problem: Problem, threads: int, expected: Callable[[], Results]
    ) -> Contender:
        """It, ready to run a problem on this many threads.

        Raises:
            UnavailableError: it is not installed, or cannot run this case.
        """
        if not self.installed:
            raise UnavailableError("not installed")
        return self.make(problem, threads, expected)


def load(module: str) -> Any:
    """Import what an optional peer needs, which no type checker need know."""
    return importlib.import_module(module)
