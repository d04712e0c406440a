"""How many epochs a training has where nobody says so."""

from dataclasses import replace
from pathlib import Path

import pytest

from fastlstm.training import RunFolder, RunFolderError, fit, settings
from fastlstm.training.batches import count_batches
from fastlstm.training.settings import FEWEST_EPOCHS, MOST_EPOCHS, choose_epochs
from training_cases import make_clouds, make_config, make_objective


@pytest.mark.parametrize(
    ("examples", "accumulate", "epochs"),
    [
        (10, 1, MOST_EPOCHS),
        (1_000, 1, 25),  # 100 batches of 10
        (1_000, 4, MOST_EPOCHS),
        (1_000, 3, 74),  # 34 updates
        (10_000, 1, FEWEST_EPOCHS),
    ],
)
def test_the_epochs_follow_from_the_updates(examples: int, accumulate: int, epochs: int) -> None:
    config = make_config(epochs=None, accumulate=accumulate)
    assert choose_epochs(config, count_batches(examples, config.batch_size)) == epochs
    assert choose_epochs(make_config(epochs=7), 100) == 7


def test_few_examples_may_have_more_epochs() -> None:
    config = make_config(epochs=None)
    assert choose_epochs(config, 1, fewest_updates=500) == 500
    assert choose_epochs(config, 3, fewest_updates=500) == 167
    assert choose_epochs(config, 5, fewest_updates=500) == MOST_EPOCHS
    assert choose_epochs(config, 100, fewest_updates=500) == 25
    assert choose_epochs(replace(config, accumulate=2), 6, fewest_updates=500) == 167
    assert choose_epochs(replace(config, epochs=7), 1, fewest_updates=500) == 7


def test_a_run_keeps_the_epochs_that_were_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings, "UPDATES", 9)
    monkeypatch.setattr(settings, "FEWEST_EPOCHS", 1)
    folder, events = RunFolder.create(tmp_path / "run", {}), []
    config = make_config(epochs=None)
    history = fit(make_objective(), make_clouds(25), None, config, folder, on_event=events.append)
    assert len(history.records) == events[0].epochs == 3
    assert not history.stopped_early
    assert history.records[-1]["learning_rate"] == pytest.approx(0.0, abs=1e-9)
    # Going on with it is the same whether the number is chosen or given.
    for epochs in (None, 3):
        again = replace(config, epochs=epochs)
        found = fit(make_objective(), make_clouds(25), None, again, folder, resume=True)
        assert found == history
    with pytest.raises(RunFolderError, match="with epochs 4: it was started with 3"):
        fit(
            make_objective(),
            make_clouds(25),
            None,
            replace(config, epochs=4),
            folder,
            resume=True,
        )
