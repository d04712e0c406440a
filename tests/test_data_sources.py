"""The registry, and files that are found, fetched and checked; nothing damaged stays behind."""

import gzip
import hashlib
import io
import re
import tarfile
import zipfile

import pytest

from fastlstm.data import SOURCES, DataError, find_source, get_source, list_sources, sources
from fastlstm.data.files import SourceFile, locate, read_source

CONTENT = b"some numbers\n1 2 3\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fails(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


def zipped(member):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(member, CONTENT)
    return stream.getvalue()


def tarred(member):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = len(CONTENT)
        archive.addfile(info, io.BytesIO(CONTENT))
    return stream.getvalue()


def plain(member):
    return CONTENT


def gzipped(member):
    return gzip.compress(CONTENT)


KINDS = [
    ("a.csv", "", plain),
    ("a.csv.gz", "", gzipped),
    ("a.zip", "in/a.csv", zipped),
    ("a.tar.gz", "in/a.csv", tarred),
]


def source_file(name, member="", **options):
    url = f"https://example.org/x/{name}"
    return SourceFile("set", url, len(CONTENT), SHA256, member, **options)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    monkeypatch.setenv("FASTLSTM_DATA", str(tmp_path))
    return tmp_path / "set"


@pytest.fixture
def download_cache(tmp_path, monkeypatch):
    """Downloads come from a stand-in: what is in `remote`, by address."""
    import pooch

    remote, fetched = {}, []

    def retrieve(url, known_hash, fname, path):
        path.mkdir(parents=True, exist_ok=True)
        if not (path / fname).exists():
            if url not in remote:
                raise ConnectionError("a long account of sockets")
            fetched.append(url)
            (path / fname).write_bytes(remote[url])
        return str(path / fname)

    monkeypatch.delenv("FASTLSTM_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return tmp_path / "fastlstm", remote, fetched


@pytest.mark.parametrize(("name", "member", "pack"), KINDS)
def test_reads_each_kind_of_file(mirror, name, member, pack):
    (mirror / name).write_bytes(pack(member))
    assert read_source(source_file(name, member)) == CONTENT


def test_a_mirror_may_hold_the_file_in_another_form(mirror):
    file = source_file("a.csv", mirror="all.zip", mirror_member="b.csv")
    with fails(
        f"{mirror / 'all.zip'} does not exist: FASTLSTM_DATA must name a folder that holds "
        f"set/all.zip (unset it to download set)"
    ):
        read_source(file)
    (mirror / "a.csv").write_bytes(CONTENT)
    assert locate(file).path == mirror / "a.csv"
    (mirror / "all.zip").write_bytes(zipped("b.csv"))
    assert locate(file).path == mirror / "all.zip"
    assert read_source(file) == CONTENT


def test_member_that_is_not_there(mirror):
    for name, _, pack in KINDS[2:]:
        (mirror / name).write_bytes(pack("other"))
        with fails(f"{mirror / name} holds no in/a.csv"):
            read_source(source_file(name, "in/a.csv"))


@pytest.mark.parametrize(("name", "member", "pack"), KINDS[1:])
def test_damaged_archive(mirror, name, member, pack):
    (mirror / name).write_bytes(pack(member)[:-30])
    kind = "zip" if name.endswith("zip") else "gzip"
    start = f"^{re.escape(str(mirror / name))} is not a complete {kind} file: "
    with pytest.raises(DataError, match=start):
        read_source(source_file(name, member))
    assert (mirror / name).exists(), "a file of the user's own is never removed"


def test_wrong_content(mirror):
    path = mirror / "a.csv"
    for content, found in ((CONTENT[:-2], f"{len(CONTENT) - 2}"), (CONTENT + b"more", "more")):
        path.write_bytes(content)
        with fails(f"{path} holds {found} bytes unpacked: expected {len(CONTENT)}"):
            read_source(source_file("a.csv"))
    changed = b"S" + CONTENT[1:]
    path.write_bytes(changed)
    with fails(
        f"{path} is not the official file: the sha256 of its content is "
        f"{hashlib.sha256(changed).hexdigest()}, expected {SHA256}"
    ):
        read_source(source_file("a.csv"))


def test_folder_in_the_place_of_a_file(mirror):
    (mirror / "a.csv").mkdir()
    with fails(f"cannot read {mirror / 'a.csv'}: Is a directory"):
        read_source(source_file("a.csv"))


def test_downloads_once(download_cache):
    cache, remote, fetched = download_cache
    file = source_file("a.zip", "in/a.csv", mirror="else.csv")
    remote[file.url] = zipped("in/a.csv")
    assert read_source(file) == read_source(file) == CONTENT
    assert fetched == [file.url]
    assert locate(file).path == cache / "set" / "a.zip"


def test_wrong_download_leaves_nothing_behind(download_cache):
    cache, remote, _ = download_cache
    file = source_file("a.csv")
    remote[file.url] = b"S" + CONTENT[1:]
    with pytest.raises(DataError, match="removed it from the cache, run again to download it anew"):
        read_source(file)
    assert list((cache / "set").iterdir()) == []
    remote[file.url] = CONTENT
    assert read_source(file) == CONTENT


def test_failed_download(download_cache):
    with fails(
        "cannot download https://example.org/x/a.csv (ConnectionError): to work offline, set "
        "FASTLSTM_DATA to a folder that holds set/all.zip"
    ):
        read_source(source_file("a.csv", mirror="all.zip"))


def test_registry():
    names = [source.name for source in list_sources()]
    assert names == [
        *("airline", "digits", "ett", "gesture-phase", "mnist", "movie-reviews", "sunspots"),
        "ud-ewt",
    ]
    files = [file for source in SOURCES.values() for file in source.files.values()]
    assert len(files) == 1 + 4 + 14 + 4 + 2 + 1 + 3
    assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in files)
    assert all(file.url.startswith("https://") for file in files)
    assert len({file.sha256 for file in files}) == len(files)
    assert {source.task for source in SOURCES.values()} == {"classify", "text", "tag", "forecast"}
    assert find_source("ett") is SOURCES["ett"]
    assert get_source("digits") == []
    with fails(f"unknown data set 'cifar': expected one of {', '.join(names)}"):
        get_source("cifar")


def test_get_checks_all_and_names_each_file_once(mirror, monkeypatch):
    archive = source_file("all.zip", "a.csv")
    one, two = source_file("all.zip", "b.csv"), source_file("c.csv")
    entry = sources.Source("set", "", "tag", "", "", {"a": archive, "b": one, "c": two})
    monkeypatch.setattr(sources, "SOURCES", {"set": entry})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        written.writestr("a.csv", CONTENT)
        written.writestr("b.csv", CONTENT)
    (mirror / "all.zip").write_bytes(stream.getvalue())
    (mirror / "c.csv").write_bytes(CONTENT)
    assert get_source("set") == [mirror / "all.zip", mirror / "c.csv"]
    (mirror / "c.csv").write_bytes(CONTENT[::-1])
    with pytest.raises(DataError, match="is not the official file"):
        get_source("set")
