"""Two processes fit a classifier as one does."""

import json
from pathlib import Path

import pytest

import classifiers_launched
from classifiers_launched import CLASSIFIERS, fit
from fastlstm.tasks.classifier import Classifier
from two_processes import read_as_one, run_in_two


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    run_in_two(classifiers_launched.run_all, folder)
    return folder


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_two_processes_fit_as_one(fitted: Path, name: str) -> None:
    read_as_one(fit(name, None), fitted, name)


@pytest.mark.parametrize("where", ["{}", "{}-saved"])
@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_the_first_process_writes(fitted: Path, name: str, where: str) -> None:
    inputs, labels = CLASSIFIERS[name][1](31, 2)
    kind: type[Classifier] = type(CLASSIFIERS[name][0]())
    folder = fitted / where.format(name)
    expected = json.loads((fitted / f"{name}-0.json").read_text())["evaluate"]
    assert kind.load(folder).evaluate(inputs, labels) == expected
    assert not list(folder.glob(".*"))
