"""DistributedDataParallel with two gloo processes, and what parametrizes a layer from outside."""

import socket
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations

import fastlstm


def make_layer() -> fastlstm.LSTM:
    torch.manual_seed(5)
    return fastlstm.LSTM(3, 5, 2, dtype=torch.float64, peephole=True, bidirectional=True)


def make_batch() -> Tensor:
    return torch.randn(7, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(6))


def train(model: torch.nn.Module, x: Tensor, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()


def run_process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = DistributedDataParallel(make_layer())
    train(model, make_batch()[:, rank * 3 : rank * 3 + 3])
    torch.save(model.module.state_dict(), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run_process, (port, str(tmp_path)), nprocs=2)
    alone = make_layer()
    train(alone, make_batch())
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt")
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=1e-12, atol=1e-12)


def test_weight_norm_is_seen_at_every_step_of_training() -> None:
    """A parametrized weight is computed anew in each forward, so training moves it."""
    layers = [make_layer(), make_layer()]
    reference = torch.nn.LSTM(3, 5, 2, dtype=torch.float64, bidirectional=True)
    plain = fastlstm.LSTM(3, 5, 2, dtype=torch.float64, bidirectional=True)
    plain.load_state_dict(reference.state_dict())
    for layer in (*layers, plain):
        parametrizations.weight_norm(layer, "weight_hh_l0")
        train(layer, make_batch())
    before = plain.parametrizations.weight_hh_l0.original1.clone()
    train(plain, make_batch(), steps=1)
    assert not torch.equal(before, plain.parametrizations.weight_hh_l0.original1)
    # With the weight that the parametrization yields, PyTorch's layer agrees.
    torch.nn.utils.parametrize.remove_parametrizations(plain, "weight_hh_l0")
    reference.load_state_dict(plain.state_dict())
    torch.testing.assert_close(
        plain(make_batch())[0], reference(make_batch())[0], rtol=1e-12, atol=1e-12
    )
    for one, other in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        assert torch.equal(one, other)
