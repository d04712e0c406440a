"""Which examples make which batch: a function of the seed and the epoch, and of nothing else.

A run on several processes has the same batches as a run on one; each process takes its share of
every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy

# How many batches are sorted by length together, and by how much each length is taken to be other
# than it is: enough order that a batch is of like lengths, enough chance that other examples meet
# in each epoch.
BUCKET_BATCHES = 100
LENGTH_NOISE = 0.1

Lengths = Sequence[int] | numpy.ndarray


def count_batches(examples: int, batch_size: int) -> int:
    """How many batches an epoch has; the last may have fewer examples."""
    return -(-examples // batch_size)


def training_batches(
    examples: int, batch_size: int, seed: int, epoch: int, lengths: Lengths | None
) -> list[numpy.ndarray]:
    """The batches of an epoch, in order; each example is in one of them.

    Args:
        examples: how many there are.
        batch_size: examples in a batch; one batch of the epoch may have fewer.
        seed: of the shuffling, with `epoch`; the global generators are not touched.
        epoch: from 1.
        lengths: of each example, where batches of similar lengths are wanted; else None.
    """
    generator = numpy.random.default_rng([seed, epoch])
    order = generator.permutation(examples)
    if lengths is None:
        return _cut(order, batch_size)
    of_all = numpy.asarray(lengths)
    size = batch_size * BUCKET_BATCHES
    batches: list[numpy.ndarray] = []
    for start in range(0, examples, size):
        here = order[start : start + size]
        noise = generator.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(here))
        here[:] = here[numpy.argsort(of_all[here] * noise)]
        batches += _cut(here, batch_size)
    return [batches[place] for place in generator.permutation(len(batches))]


def evaluation_batches(
    examples: int, batch_size: int, lengths: Lengths | None
) -> list[numpy.ndarray]:
    """All examples in batches: in order, or by length where `lengths` is given."""
    order = numpy.arange(examples)
    if lengths is not None:
        order = numpy.argsort(numpy.asarray(lengths), kind="stable")
    return _cut(order, batch_size)


def share(indices: numpy.ndarray, process: int, processes: int) -> tuple[list[int], float]:
    """What one process takes of a batch, and the factor of its loss: 1.

    Where a batch has fewer examples than there are processes, those left without one take the first
    with factor 0: all then do the same steps, and each example still counts once.
    """
    mine = indices[process::processes].tolist()
    return (mine, 1.0) if mine else (indices[:1].tolist(), 0.0)


def _cut(order: numpy.ndarray, batch_size: int) -> list[numpy.ndarray]:
    """Parts of one array: the numbers of a million examples are 8 MB, as Python's own 40."""
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
