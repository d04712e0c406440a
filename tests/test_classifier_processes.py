"""Two processes fit a classifier as one does."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import classifiers_launched
from classifiers_launched import CLASSIFIERS, fit
from fastlstm.tasks.classifier import Classifier
from two_processes import run_in_two


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    run_in_two(classifiers_launched.run_all, folder)
    return folder


@pytest.mark.parametrize("name", list(CLASSIFIERS))
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


@pytest.mark.parametrize("where", ["{}", "{}-saved"])
@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_the_first_process_writes(fitted: Path, name: str, where: str) -> None:
    inputs, labels = CLASSIFIERS[name][1](31, 2)
    kind: type[Classifier] = type(CLASSIFIERS[name][0]())
    folder = fitted / where.format(name)
    expected = json.loads((fitted / f"{name}-0.json").read_text())["evaluate"]
    assert kind.load(folder).evaluate(inputs, labels) == expected
    assert not list(folder.glob(".*"))
