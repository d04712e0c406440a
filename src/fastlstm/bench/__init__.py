"""Measure an LSTM beside its peers: a check of the results first, then alternated timings."""

from fastlstm.bench.check import disagreement
from fastlstm.bench.compare import Comparison, PeerResult, measure
from fastlstm.bench.contender import Contender, Entry, layer_contender
from fastlstm.bench.layer import (
    compare_layer,
    own_entry,
    own_layer,
    references,
    switch_arguments,
    switch_names,
)
from fastlstm.bench.peers import PEERS, Peer
from fastlstm.bench.problem import (
    DTYPES,
    Case,
    Problem,
    Results,
    UnavailableError,
    layer_results,
    make_problem,
)
from fastlstm.bench.threads import cores, pinned
from fastlstm.bench.timing import PAIRS, Pair, Run, alternate, prepare

__all__ = [
    "DTYPES",
    "PAIRS",
    "PEERS",
    "Case",
    "Comparison",
    "Contender",
    "Entry",
    "Pair",
    "Peer",
    "PeerResult",
    "Problem",
    "Results",
    "Run",
    "UnavailableError",
    "alternate",
    "compare_layer",
    "cores",
    "disagreement",
    "layer_contender",
    "layer_results",
    "make_problem",
    "measure",
    "own_entry",
    "own_layer",
    "pinned",
    "prepare",
    "references",
    "switch_arguments",
    "switch_names",
]
