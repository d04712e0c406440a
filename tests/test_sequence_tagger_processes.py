"""Two processes fit a tagger as one does."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import tagger_launched
from fastlstm.tasks import SequenceTagger
from tagger_launched import TAGGERS, fit
from two_processes import run_in_two


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    run_in_two(tagger_launched.run_all, folder)
    return folder


@pytest.mark.parametrize("name", list(TAGGERS))
def test_two_processes_fit_as_one(fitted: Path, name: str) -> None:
    alone = fit(name, None)
    found = [json.loads((fitted / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0] == found[1]
    assert len(found[0]["history"]) == len(alone.history_.records)
    for together, expected in zip(found[0]["history"], alone.history_.records, strict=True):
        assert together == pytest.approx({**expected, "seconds": 0.0}, rel=1e-4)
    weights = [load_file(fitted / f"{name}-{rank}.safetensors") for rank in (0, 1)]
    for key, value in alone.network_.state_dict().items():
        torch.testing.assert_close(weights[0][key], value, rtol=1e-3, atol=1e-5)
        assert torch.equal(weights[0][key], weights[1][key])
    X, y = TAGGERS[name][1](21, 2)
    assert SequenceTagger.load(fitted / name).evaluate(X, y) == found[0]["evaluate"]
