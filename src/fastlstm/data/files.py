"""Where the files of a named data set come from, and that they are what they should be.

A file is checked by what is *inside* it: mirrors compress anew, so the checksum of a `.gz` or a
`.zip` differs from one to the next while the content does not.
"""

import gzip
import hashlib
import os
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from fastlstm.data.errors import DataError

DATA_FOLDER_VARIABLE = "FASTLSTM_DATA"


@dataclass(frozen=True)
class Place:
    """A file on this machine, and the member that is meant where the file is an archive."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path} ({self.member})" if self.member else str(self.path)


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set: its public address, and what it must hold once unpacked.

    Args:
        folder: the data set's folder, in the mirror and in the cache.
        url: the public address; `.gz`, `.zip` and `.tar.gz` are unpacked by that suffix.
        size: the bytes of the unpacked content.
        sha256: the checksum of the unpacked content.
        member: the file's name inside the archive at `url`.
        mirror: the name of the mirror's copy in `folder`, where it is not that of `url`.
        mirror_member: the file's name inside `mirror`.
    """

    folder: str
    url: str
    size: int
    sha256: str
    member: str = ""
    mirror: str = ""
    mirror_member: str = ""

    @property
    def file_name(self) -> str:
        """The last part of the address: the name in the cache."""
        return self.url.rpartition("/")[2]

    @property
    def mirror_path(self) -> str:
        """The path that a mirror must hold: `folder/name`."""
        return f"{self.folder}/{self.mirror or self.file_name}"


def locate(file: SourceFile) -> Place:
    """Find a file in `$FASTLSTM_DATA`, or, where that is not set, download it once.

    A mirror may hold the file as `mirror` says or as the public address has it.

    Raises:
        DataError: the mirror does not hold the file, or the download failed.
    """
    data_folder = os.environ.get(DATA_FOLDER_VARIABLE)
    if not data_folder:
        return Place(download(file.url, file.folder, file.mirror_path), file.member)
    places = [
        Place(Path(data_folder) / file.mirror_path, file.mirror_member),
        Place(Path(data_folder) / file.folder / file.file_name, file.member),
    ]
    if not file.mirror:
        places = places[1:]
    for place in places:
        if place.path.exists():
            return place
    raise DataError(
        f"{places[0].path} does not exist: {DATA_FOLDER_VARIABLE} must name a folder that holds "
        f"{file.mirror_path} (unset it to download {file.folder})"
    )


def read_source(file: SourceFile) -> bytes:
    """Read one file of a data set, unpack it and check all of it.

    Raises:
        DataError: it is missing, damaged or not the official file, or the download failed. A
            damaged download does not stay in the cache.
    """
    place = locate(file)
    try:
        return _checked_content(file, place)
    except DataError as error:
        if os.environ.get(DATA_FOLDER_VARIABLE):
            raise
        # A damaged download left in the cache would fail every later run too.
        place.path.unlink(missing_ok=True)
        raise DataError(
            f"{error}; removed it from the cache, run again to download it anew"
        ) from error


def download(url: str, folder: str, mirror_path: str) -> Path:
    """Download a file into the cache, unless it is there.

    Args:
        url: the public address.
        folder: the folder in the cache.
        mirror_path: what a mirror would have to hold, for the error message.

    Raises:
        DataError: the download failed.
    """
    import pooch

    # pooch would print the checksum of the compressed file and advise to pin it.
    pooch.get_logger().setLevel("WARNING")
    try:
        path = pooch.retrieve(
            url,
            known_hash=None,
            fname=url.rpartition("/")[2],
            path=pooch.os_cache("fastlstm") / folder,
        )
    except OSError as error:  # the base of every network error that requests raises, too
        raise DataError(
            f"cannot download {url} ({type(error).__name__}): to work offline, set "
            f"{DATA_FOLDER_VARIABLE} to a folder that holds {mirror_path}"
        ) from error
    return Path(path)


def _checked_content(file: SourceFile, place: Place) -> bytes:
    # One byte more than expected shows a file that is too long without reading all of it.
    content = _read_at_most(place, file.size + 1)
    if len(content) != file.size:
        found = f"{len(content):,}" if len(content) < file.size else "more"
        raise DataError(f"{place} holds {found} bytes unpacked: expected {file.size:,}")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise DataError(
            f"{place} is not the official file: the sha256 of its content is {sha256}, expected "
            f"{file.sha256}"
        )
    return content


def _read_at_most(place: Place, size: int) -> bytes:
    name = place.path.name
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(place.path) as archive, archive.open(place.member) as stream:
                return stream.read(size)
        if name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(place.path) as archive:
                stream = archive.extractfile(place.member)
                if stream is None:
                    raise KeyError(place.member)
                return stream.read(size)
        with gzip.open(place.path) if name.endswith(".gz") else place.path.open("rb") as stream:
            return stream.read(size)
    except KeyError as error:
        raise DataError(f"{place.path} holds no {place.member}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        kind = "zip" if name.endswith(".zip") else "gzip"
        raise DataError(f"{place.path} is not a complete {kind} file: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {place.path}: {error.strerror}") from error
