"""Text files: lines as they are, and errors that say where and what to do."""

import re

import pytest

from fastlstm.data import DataError, read_text


def test_marks_and_ends_of_lines(tmp_path):
    (tmp_path / "f.txt").write_bytes("\ufeffä\r\nb\n".encode())
    assert read_text(tmp_path / "f.txt") == "ä\nb\n"


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "f.txt"
    with pytest.raises(DataError, match=f"^{re.escape(str(path))} does not exist$"):
        read_text(path)
    with pytest.raises(DataError, match=f"^cannot read {re.escape(str(tmp_path))}: Is a directory"):
        read_text(tmp_path)
    for encoding, line in (("latin-1", 2), ("utf-16", 1)):
        path.write_bytes("a\né\n".encode(encoding))
        expected = f"{path}, line {line}: not UTF-8 text: save it as UTF-8"
        with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
            read_text(path)
