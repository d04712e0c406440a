"""The other implementations of an LSTM that a comparison may hold."""

from fastlstm.bench.peers.jax_scan import JAX
from fastlstm.bench.peers.onnx_runtime import ONNX_RUNTIME
from fastlstm.bench.peers.openvino import OPENVINO
from fastlstm.bench.peers.peer import Peer
from fastlstm.bench.peers.torch_lstm import TORCH

PEERS = {"torch": TORCH, "onnxruntime": ONNX_RUNTIME, "openvino": OPENVINO, "jax": JAX}
"""In the order of a table's columns."""

__all__ = ["PEERS", "Peer"]
