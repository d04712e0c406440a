"""Which examples are for training and which are held out: by a seed of its own, never by chance.

Every function returns sorted arrays of indices, int64, and depends on its arguments only: neither
on the global random state nor on the seed of a run.
"""

import math
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from fastlstm.data.errors import DataError


def split_share(count: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a share of the examples.

    Returns:
        What is kept and what is held out; the second is rounded, and at least one example.

    Raises:
        DataError: the share is not between 0 and 1, or nothing would be kept.
    """
    held_out = _held_out_count(count, share)
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def split_stratified(
    labels: Sequence[Hashable] | np.ndarray, share: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out the same share of every class, and in all as many as `split_share` does.

    A class gets its share rounded down; the examples that are then missing come from the classes
    that lost most by rounding. Of a class with a single example nothing is held out while others
    can give one.

    Raises:
        DataError: as for `split_share`.
    """
    held_out = _held_out_count(len(labels), share)
    generator = np.random.default_rng(seed)
    members = [generator.permutation(group) for group in _groups(labels).values()]
    exact = [len(group) * held_out / len(labels) for group in members]
    taken = [math.floor(number) for number in exact]
    # Largest remainders first; a class that would lose its only example comes last.
    order = sorted(
        range(len(members)),
        key=lambda i: (taken[i] + 1 >= len(members[i]), taken[i] - exact[i], i),
    )
    for index in order[: held_out - sum(taken)]:
        taken[index] += 1
    pairs = list(zip(members, taken, strict=True))
    return (
        np.sort(np.concatenate([group[number:] for group, number in pairs])),
        np.sort(np.concatenate([group[:number] for group, number in pairs])),
    )


def combined_ids(ids: Sequence[np.ndarray]) -> np.ndarray:
    """One number for each combination of the classes of several targets, to split by.

    Args:
        ids: the classes of every example, integers `(N,)`, for each target.
    """
    if len(ids) == 1:
        return ids[0]
    return np.unique(np.stack(ids, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def split_groups(
    groups: Sequence[Hashable], share: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out whole groups (speakers, patients, recordings): a share of the groups, rounded.

    Raises:
        DataError: there is only one group, or as for `split_share`.
    """
    members = list(_groups(groups).values())
    if len(members) < 2:
        raise DataError(f"cannot split {len(members)} group: expected at least 2")
    kept, held_out = split_share(len(members), share, seed)
    return (
        np.sort(np.concatenate([members[index] for index in kept])),
        np.sort(np.concatenate([members[index] for index in held_out])),
    )


def k_fold(
    count: int, folds: int, seed: int = 0, labels: Sequence[Hashable] | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut the examples into folds that share none; each is held out once.

    Args:
        count: the number of examples.
        folds: from 2 to `count`.
        seed: the draw.
        labels: where given, every fold has its share of every class.

    Returns:
        What is kept and what is held out, for each fold; fold sizes differ by at most one.

    Raises:
        DataError: the number of folds or of labels does not fit.
    """
    if not 2 <= folds <= count:
        raise DataError(f"cannot cut {count} examples into {folds} folds: expected 2 to {count}")
    if labels is not None and len(labels) != count:
        raise DataError(f"{len(labels)} labels for {count} examples")
    generator = np.random.default_rng(seed)
    if labels is None:
        order = generator.permutation(count)
    else:
        # Dealt out class by class, as cards are: each fold gets its share of every class.
        shuffled = [generator.permutation(group) for group in _groups(labels).values()]
        order = np.concatenate(shuffled)
    fold_of = np.empty(count, dtype=np.int64)
    fold_of[order] = np.arange(count) % folds
    return [
        (np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds)
    ]


def leave_one_group_out(
    groups: Sequence[Hashable],
) -> Iterator[tuple[Hashable, np.ndarray, np.ndarray]]:
    """Hold out each group once, in the order in which they appear.

    Yields:
        The group that is held out, what is kept and what is held out.

    Raises:
        DataError: there is only one group.
    """
    members = _groups(groups)
    if len(members) < 2:
        raise DataError(f"cannot leave one of {len(members)} group out: expected at least 2")
    for group, held_out in members.items():
        kept = np.ones(len(groups), dtype=bool)
        kept[held_out] = False
        yield group, np.flatnonzero(kept), held_out


def _held_out_count(count: int, share: float) -> int:
    if not 0 < share < 1:
        raise DataError(f"the share to hold out is {share}: expected more than 0 and less than 1")
    held_out = max(1, round(count * share))
    if held_out >= count:
        raise DataError(f"cannot hold out {held_out} of {count} examples: none would be kept")
    return held_out


def _groups(labels: Sequence[Hashable] | np.ndarray) -> dict[Hashable, np.ndarray]:
    """The places of each label, in the order in which the labels first appear."""
    # A million of them in a blink; objects of several types have no order to sort them by.
    if isinstance(labels, np.ndarray) and labels.dtype != object:
        values, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
        by_class = np.argsort(inverse, kind="stable")
        pieces = np.split(by_class, np.cumsum(np.bincount(inverse))[:-1])
        found = values.tolist()
        return {found[number]: pieces[number] for number in np.argsort(first)}
    members: dict[Hashable, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    return {label: np.array(indices, dtype=np.int64) for label, indices in members.items()}
