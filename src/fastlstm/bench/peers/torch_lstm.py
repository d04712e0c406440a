"""``torch.nn.LSTM``."""

from collections.abc import Callable

from fastlstm.bench.contender import Contender, layer_contender
from fastlstm.bench.peers.peer import Peer
from fastlstm.bench.problem import DTYPES, Problem, Results


def _make(problem: Problem, threads: int, expected: Callable[[], Results]) -> Contender:
    # The number of threads is not used: torch's is the process's, which the caller has set.
    layer = problem.case.layer(DTYPES[problem.case.dtype])
    layer.load_state_dict(problem.parameters)
    return layer_contender(layer, problem, expected)


TORCH = Peer("torch.nn.LSTM", ("torch",), _make)
