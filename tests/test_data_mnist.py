"""MNIST: the files are checked inside and out, and every fault is named."""

import gzip
import hashlib
import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from fastlstm.data import DataError, load_mnist, mnist

TRAIN_COUNT, TEST_COUNT, ROWS, COLUMNS = 13, 5, 3, 4
CONTENTS_SEED = 7


def idx_bytes(values):
    header = bytes([0, 0, 8, values.ndim])
    header += b"".join(length.to_bytes(4, "big") for length in values.shape)
    return header + values.tobytes()


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """A data folder of four tiny idx files, with the table of expected contents to match."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    generator = np.random.default_rng(CONTENTS_SEED)
    values = {}
    for constant, shape, high in (
        ("TRAIN_IMAGES", (TRAIN_COUNT, ROWS, COLUMNS), 256),
        ("TRAIN_LABELS", (TRAIN_COUNT,), 10),
        ("TEST_IMAGES", (TEST_COUNT, ROWS, COLUMNS), 256),
        ("TEST_LABELS", (TEST_COUNT,), 10),
    ):
        values[constant] = generator.integers(0, high, shape, dtype=np.uint8)
        content = idx_bytes(values[constant])
        file = replace(
            getattr(mnist, constant), shape=shape, sha256=hashlib.sha256(content).hexdigest()
        )
        monkeypatch.setattr(mnist, constant, file)
        (folder / file.name).write_bytes(gzip.compress(content))
    monkeypatch.setattr(mnist, "VALIDATION_IMAGES", 4)
    monkeypatch.setenv("FASTLSTM_DATA", str(tmp_path))
    return folder, values


def test_splits_the_files_without_losing_or_repeating_an_image(tiny_mnist):
    _, values = tiny_mnist
    dataset = load_mnist()
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [9, 4, 5]
    assert (dataset.rows, dataset.columns, dataset.num_classes) == (ROWS, COLUMNS, 10)

    images = torch.cat([dataset.train.tensors[0], dataset.validation.tensors[0]])
    labels = torch.cat([dataset.train.tensors[1], dataset.validation.tensors[1]])
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    # Random images are all different, so each one names the label that must lie beside it.
    pairs = {
        (image.numpy().tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    }
    assert pairs == {
        (image.tobytes(), int(label))
        for image, label in zip(values["TRAIN_IMAGES"], values["TRAIN_LABELS"], strict=True)
    }
    np.testing.assert_array_equal(dataset.test.tensors[0].numpy(), values["TEST_IMAGES"])
    np.testing.assert_array_equal(dataset.test.tensors[1].numpy(), values["TEST_LABELS"])


def test_split_is_the_same_every_time(tiny_mnist):
    torch.testing.assert_close(load_mnist().train.tensors, load_mnist().train.tensors)


def test_missing_file(tiny_mnist):
    folder, _ = tiny_mnist
    path = folder / mnist.TEST_LABELS.name
    path.unlink()
    expected = (
        f"{path} does not exist: FASTLSTM_DATA must name a folder that holds "
        f"mnist/t10k-labels-idx1-ubyte.gz (unset it to download MNIST)"
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        load_mnist()


def test_folder_in_the_place_of_a_file(tiny_mnist):
    folder, _ = tiny_mnist
    path = folder / mnist.TRAIN_IMAGES.name
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=f"^cannot read {re.escape(str(path))}: Is a directory$"):
        load_mnist()


def truncate(raw, content):
    return raw[:-9]


def not_gzip(raw, content):
    return content


def garble(raw, content):
    return raw[:20] + bytes(8) + raw[28:]


@pytest.mark.parametrize("damage", [truncate, not_gzip, garble])
def test_damaged_gzip(tiny_mnist, damage):
    folder, values = tiny_mnist
    path = folder / mnist.TRAIN_IMAGES.name
    path.write_bytes(damage(path.read_bytes(), idx_bytes(values["TRAIN_IMAGES"])))
    with pytest.raises(DataError, match=f"^{re.escape(str(path))} is not a complete gzip file: "):
        load_mnist()


def test_wrong_header(tiny_mnist):
    folder, values = tiny_mnist
    path = folder / mnist.TRAIN_LABELS.name
    path.write_bytes(gzip.compress(idx_bytes(values["TRAIN_IMAGES"])))
    expected = (
        f"{path} begins with 00000803 0000000d: expected 00000801 0000000d, the idx header of a "
        f"uint8 array of shape (13,)"
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        load_mnist()


@pytest.mark.parametrize(
    ("change", "found"), [(lambda c: c[:-2], "19"), (lambda c: c + b"\0\0", "more")]
)
def test_wrong_length(tiny_mnist, change, found):
    folder, values = tiny_mnist
    path = folder / mnist.TRAIN_LABELS.name
    path.write_bytes(gzip.compress(change(idx_bytes(values["TRAIN_LABELS"]))))
    expected = f"{path} holds {found} bytes decompressed: expected 21"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        load_mnist()


def test_changed_pixel(tiny_mnist):
    folder, values = tiny_mnist
    path = folder / mnist.TEST_IMAGES.name
    changed = values["TEST_IMAGES"].copy()
    changed[2, 1, 1] ^= 1
    content = idx_bytes(changed)
    path.write_bytes(gzip.compress(content))
    expected = (
        f"{path} is not the official file: the sha256 of its decompressed content is "
        f"{hashlib.sha256(content).hexdigest()}, expected {mnist.TEST_IMAGES.sha256}"
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        load_mnist()


@pytest.fixture
def download_cache(tiny_mnist, tmp_path, monkeypatch):
    """No local folder: downloads come from a stand-in that copies the tiny files to a cache."""
    import pooch

    folder, _ = tiny_mnist
    cache = tmp_path / "cache"
    addresses = []

    def retrieve(url, known_hash, fname, path):
        path.mkdir(parents=True, exist_ok=True)
        if not (path / fname).exists():
            addresses.append(url)
            (path / fname).write_bytes((folder / fname).read_bytes())
        return str(path / fname)

    monkeypatch.delenv("FASTLSTM_DATA")
    monkeypatch.setattr(pooch, "os_cache", lambda project: cache / project)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return folder, cache / "fastlstm" / "mnist", addresses


def test_downloads_each_file_once(download_cache):
    _, cache, addresses = download_cache
    load_mnist()
    load_mnist()
    assert addresses == [
        mnist.MIRROR + name
        for name in (
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        )
    ]
    assert len(list(cache.iterdir())) == 4


def test_damaged_download_does_not_stay_in_the_cache(download_cache):
    folder, cache, _ = download_cache
    name = mnist.TRAIN_LABELS.name
    good = (folder / name).read_bytes()
    (folder / name).write_bytes(good[:-5])
    with pytest.raises(DataError, match="removed it from the cache, run again to download it anew"):
        load_mnist()
    assert not (cache / name).exists()
    (folder / name).write_bytes(good)
    load_mnist()


def test_failed_download(tiny_mnist, monkeypatch):
    import pooch
    import requests

    def retrieve(*arguments, **options):
        raise requests.ConnectionError("a long account of sockets")

    monkeypatch.delenv("FASTLSTM_DATA")
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    expected = (
        f"cannot download {mnist.MIRROR}train-images-idx3-ubyte.gz (ConnectionError): to work "
        f"offline, set FASTLSTM_DATA to a folder that holds mnist/train-images-idx3-ubyte.gz"
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        load_mnist()


@pytest.mark.skipif("FASTLSTM_DATA" not in os.environ, reason="needs FASTLSTM_DATA")
def test_official_files():
    dataset = load_mnist()
    assert dataset.train.tensors[0].shape == (55_000, 28, 28)
    assert dataset.validation.tensors[0].shape == (5_000, 28, 28)
    assert dataset.test.tensors[0].shape == (10_000, 28, 28)
    # The first test images are a seven, a two and a one.
    assert dataset.test.tensors[1][:3].tolist() == [7, 2, 1]
