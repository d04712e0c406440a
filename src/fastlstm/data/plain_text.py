"""Text files in UTF-8, and what is said of others."""

from pathlib import Path

from fastlstm.data.errors import DataError


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, without the mark that some programs put in front.

    Raises:
        DataError: it cannot be read, or is not UTF-8; the message names the line.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise not_utf8(f"{path}, line {number}") from error


def not_utf8(where: str) -> DataError:
    """The error of a text in another encoding.

    Args:
        where: the file, and as far as they are known the column and the line.
    """
    return DataError(f"{where}: not UTF-8 text: save it as UTF-8")
