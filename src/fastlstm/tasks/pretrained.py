"""Pretrained vectors of words, as the estimators begin with them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fastlstm.data import Vocabulary, WordVectors, read_word_vectors
from fastlstm.tasks.errors import TaskError


def read_pretrained(
    path: str | None, frozen: bool, words: Vocabulary | None, instead: str
) -> WordVectors | None:
    """Read the vectors that an estimator's parameters name.

    Args:
        path: the parameter `vectors`; None: none.
        frozen: the parameter `frozen`.
        words: the vocabulary; None where what is read are no words.
        instead: what is read then: "the steps are frames".

    Raises:
        TaskError: the parameters do not fit together, or there are no words.
        DataError: as for `fastlstm.data.read_word_vectors`.
    """
    if path is None:
        if frozen:
            raise TaskError("frozen is True: expected pretrained vectors with it")
        return None
    if words is None:
        raise TaskError(f"vectors are those of words, and {instead}")
    return read_word_vectors(path, words)


def first_table(vectors: WordVectors, frozen: bool) -> Tensor:
    """The table that the embedding begins with: (V, D).

    A word without a vector has NaN, for the random one that it learns from, or, where the table
    stays as it is, zeros.
    """
    table, found = vectors
    return torch.from_numpy(table if frozen else np.where(found[:, None], table, np.nan))
