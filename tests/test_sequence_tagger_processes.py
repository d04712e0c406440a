"""Two processes fit a tagger as one does."""

from pathlib import Path

import pytest

import tagger_launched
from fastlstm.tasks import SequenceTagger
from tagger_launched import TAGGERS, fit
from two_processes import read_as_one, run_in_two


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    run_in_two(tagger_launched.run_all, folder)
    return folder


@pytest.mark.parametrize("name", list(TAGGERS))
def test_two_processes_fit_as_one(fitted: Path, name: str) -> None:
    figures = read_as_one(fit(name, None), fitted, name)
    X, y = TAGGERS[name][1](21, 2)
    assert SequenceTagger.load(fitted / name).evaluate(X, y) == figures
