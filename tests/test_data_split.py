"""Splits: nothing is lost or appears twice, shares are kept, and the draw is the seed's alone."""

import re
from collections import Counter

import numpy as np
import pytest

from fastlstm.data import (
    DataError,
    k_fold,
    leave_one_group_out,
    split_groups,
    split_share,
    split_stratified,
)

LABELS = ["a"] * 50 + ["b"] * 23 + ["c"] * 7


def together(kept, held_out):
    return sorted([*kept.tolist(), *held_out.tolist()])


def test_share():
    kept, held_out = split_share(37, 0.25, seed=3)
    assert (len(kept), len(held_out)) == (28, 9)
    assert together(kept, held_out) == list(range(37))
    assert kept.tolist() == sorted(kept)
    assert held_out.tolist() == sorted(held_out)
    assert held_out.tolist() != list(range(9))


def test_the_draw_is_that_of_the_seed():
    np.random.seed(1)
    one = split_share(37, 0.25, seed=3)[1].tolist()
    state = np.random.get_state()[2]
    assert split_share(37, 0.25, seed=3)[1].tolist() == one
    assert np.random.get_state()[2] == state
    assert split_share(37, 0.25, seed=4)[1].tolist() != one
    assert k_fold(10, 2, seed=1)[0][1].tolist() != k_fold(10, 2, seed=2)[0][1].tolist()


def test_a_small_share_holds_out_one():
    assert len(split_share(5, 0.01)[1]) == 1


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_share_out_of_range(share):
    expected = f"the share to hold out is {share}: expected more than 0 and less than 1"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        split_share(10, share)


def test_share_that_keeps_none():
    with pytest.raises(DataError, match=r"^cannot hold out 1 of 1 examples: none would be kept$"):
        split_share(1, 0.5)


def test_stratified_keeps_the_share_of_every_class():
    kept, held_out = split_stratified(LABELS, 0.2)
    assert together(kept, held_out) == list(range(80))
    # 10, 4.6 and 1.4 of 16: the last one goes to the class that lost most by rounding down.
    assert Counter(LABELS[i] for i in held_out) == {"a": 10, "b": 5, "c": 1}


def test_stratified_keeps_the_only_example_of_a_class():
    kept, held_out = split_stratified(["rare", *["common"] * 9], 0.5)
    assert (len(held_out), 0 in kept) == (5, True)


def test_stratified_draws_inside_a_class():
    assert (
        split_stratified(LABELS, 0.2, seed=1)[1].tolist()
        != split_stratified(LABELS, 0.2)[1].tolist()
    )


def test_groups_stay_whole():
    groups = [name for name in "abcdefghij" for _ in range(3)]
    kept, held_out = split_groups(groups, 0.3, seed=5)
    assert together(kept, held_out) == list(range(30))
    inside = {groups[i] for i in held_out}
    assert len(inside) == 3
    assert not inside & {groups[i] for i in kept}
    with pytest.raises(DataError, match=r"^cannot split 1 group: expected at least 2$"):
        split_groups(["a", "a"], 0.5)


def test_k_fold():
    folds = k_fold(11, 3, seed=2)
    assert sorted(len(held_out) for _, held_out in folds) == [3, 4, 4]
    assert sorted(i for _, held_out in folds for i in held_out.tolist()) == list(range(11))
    assert all(together(*fold) == list(range(11)) for fold in folds)


def test_k_fold_with_labels_shares_every_class():
    for _, held_out in k_fold(80, 5, labels=LABELS):
        counts = Counter(LABELS[i] for i in held_out)
        assert counts["a"] == 10
        assert counts["b"] in (4, 5)
        assert counts["c"] in (1, 2)
        assert len(held_out) == 16


@pytest.mark.parametrize("folds", [1, 12])
def test_wrong_number_of_folds(folds):
    expected = f"cannot cut 11 examples into {folds} folds: expected 2 to 11"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        k_fold(11, folds)
    with pytest.raises(DataError, match=r"^2 labels for 11 examples$"):
        k_fold(11, 3, labels=["a", "b"])


@pytest.mark.parametrize("form", [list, np.array])
def test_leave_one_group_out(form):
    found = [
        (group, kept.tolist(), held_out.tolist())
        for group, kept, held_out in leave_one_group_out(form(["b", "a", "b"]))
    ]
    assert found == [("b", [1], [0, 2]), ("a", [0, 2], [1])]
    with pytest.raises(DataError, match=r"^cannot leave one of 1 group out: expected at least 2$"):
        next(leave_one_group_out(["a"]))


def test_groups_of_several_types():
    groups = np.array(["b", None, "b", 1], dtype=object)
    assert [group for group, _, _ in leave_one_group_out(groups)] == ["b", None, 1]
