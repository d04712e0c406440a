"""Files by column names: types, small memory, and errors that name file, column and line."""

import gzip
import json
import os
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

from fastlstm.data import DataError, read_table


def fails(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


@pytest.fixture
def file(tmp_path):
    def write(content, name="file.csv"):
        path = tmp_path / name
        content = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
        return path

    return write


TEXT = 'id,when,y,label,"a, b"\n007,2024-01-01,1,NA,x\n08,2024-01-02,2.5,,"two\nlines"\n'


CSV_NAMES = ["f.csv", "f.csv.gz", "f.tsv", "F.CSV", "F.CSV.GZ", "F.Csv.gz", "F.TSV.GZ"]


@pytest.mark.parametrize(
    ("name", "by"), [(name, "\t" if "ts" in name.lower() else ",") for name in CSV_NAMES]
)
def test_csv(file, name, by):
    path = file(TEXT.replace("a, b", "@").replace(",", by).replace("@", "a, b"), name)
    table = read_table(path, texts=["id", "label"], columns=["a, b", "y"], numbers=["y"])
    assert table.column_names == ["a, b", "y", "id", "label"]
    assert table.to_pydict() == {
        "a, b": ["x", "two\nlines"],
        "y": [1.0, 2.5],
        "id": ["007", "08"],
        "label": ["NA", ""],
    }
    assert pa.types.is_date(read_table(path).schema.field("when").type)


def test_semicolons_and_mark(file):
    path = file(b"\xef\xbb\xbfa;b\r\n1;x\r\n")
    assert read_table(path).to_pydict() == {"a": [1], "b": ["x"]}


def test_missing_numbers_are_null(file):
    assert read_table(file("a,b\n1,\n,2\n"), ["a"], ["a"]).to_pydict() == {"a": [1, None]}


def test_types_that_change_late(file, monkeypatch):
    from fastlstm.data import tables

    monkeypatch.setattr(tables, "_BLOCK_BYTES", 64)
    rows = [f"{i},{i},2024-01-01" for i in range(50)] + ["70000,1.5,soon", "8,x,2024-01-01"]
    table = read_table(file("a,b,c\n" + "\n".join(rows) + "\n"))
    assert [str(kind) for kind in table.schema.types] == ["int32", "string", "string"]
    assert table.column("a").to_pylist() == [*range(50), 70000, 8]
    assert table.column("b").to_pylist() == [*map(str, range(50)), "1.5", "x"]
    cells = [f"line {i}\nand more" for i in range(50)]
    lines = "".join(f'"{cell}"\n' for cell in cells)
    assert read_table(file("a\n" + lines)).to_pydict() == {"a": cells}
    long = "z" * 5_000
    assert read_table(file(f"a\n1\n{long}\n")).to_pydict() == {"a": ["1", long]}


@pytest.mark.parametrize(
    ("head", "wanted", "message"),
    [
        ("a,b", "y", "it has a, b"),
        ("a, Label ", "label", "did you mean ' Label '? it has a,  Label "),
        ("when,temperature", "temprature", "did you mean 'temperature'? it has when, temperature"),
        ("t1,t2", "t10", "it has t1, t2"),
        (",".join(map(str, range(1200))), "y", "it has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … 1198, 1199"),
    ],
    ids=["none", "case and blanks", "close", "another number", "wide"],
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_a_column_that_is_not_there(file, tmp_path, kind, head, wanted, message):
    from fastlstm.data.frame_columns import open_frame

    names = head.split(",")
    table = pa.table({name: [1] for name in names})
    shown = "the frame" if kind == "frame" else str(tmp_path / f"f.{kind}")
    if kind == "csv":
        file(f"{head}\n{','.join('1' * len(names))}\n", "f.csv")
    elif kind == "parquet":
        pyarrow.parquet.write_table(table, shown)
    if len(names) > 12:
        message += f" ({len(names):,} in all)"
    with fails(f"{shown} has no column {wanted!r}: {message}"):
        open_frame(table, [wanted]) if kind == "frame" else read_table(shown, [wanted])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,y\n" + "1,2\n" * 9 + "1,x\n", ", column 'y', line 11: 'x' is no number"),
        ("a,y\n1,2\n1,2,3\n", ", line 3: expected 2 columns, got 3: 1,2,3"),
        ("a,y\n1,2\n1\n", ", line 3: expected 2 columns, got 1: 1"),
        ("a,b\n1,2\n", " has no column 'y': it has a, b"),
        ("y,y\n1,2\n", " has two columns named 'y'"),
        ("", " is empty: expected a line of column names"),
    ],
)
def test_wrong_csv(file, content, message):
    path = file(content)
    with fails(f"{path}{message}"):
        read_table(path, numbers=["y"])


def test_line_of_a_wrong_number_in_a_later_block(file, monkeypatch):
    from fastlstm.data import tables

    monkeypatch.setattr(tables, "_BLOCK_BYTES", 64)
    path = file("y\n" + "1\n" * 200 + "x\n")
    with fails(f"{path}, column 'y', line 202: 'x' is no number"):
        read_table(path, numbers=["y"])


NOT_UTF8 = "not UTF-8 text: save it as UTF-8"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz", "f.jsonl"])
@pytest.mark.parametrize("texts", [(), ("b",)])
def test_texts_of_other_encodings(file, encoding, name, texts):
    json_lines = '{"a": 1, "b": "x"}\n{"a": 1, "b": "é"}\n'
    path = file((json_lines if name == "f.jsonl" else "a,b\n1,é\n").encode(encoding), name)
    where = ", line 1"
    if encoding == "latin-1":
        where = ", line 2" if name == "f.jsonl" else ", column 'b', line 2"
    with fails(f"{path}{where}: {NOT_UTF8}"):
        read_table(path, texts=texts)


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
def test_names_of_columns_in_another_encoding(file, name):
    content = '{"é": 1}\n' if name == "f.jsonl" else "é,b\n1,2\n"
    with fails(f"{file(content.encode('latin-1'), name)}, line 1: {NOT_UTF8}"):
        read_table(file(content.encode("latin-1"), name))


def test_files_that_are_not_packed_as_their_names_say(file):
    path = file(TEXT, "f.csv.gz")
    path.write_bytes(TEXT.encode())
    with fails(f"{path} is no complete gzip file: zlib inflate failed: incorrect header check"):
        read_table(path)
    whole = gzip.compress(b"a\n" + b"1\n" * 10**5)
    for size in (8, len(whole) // 2):
        path.write_bytes(whole[:size])
        with fails(f"{path} is no complete gzip file: Truncated compressed stream"):
            read_table(path)


def test_a_first_line_that_is_very_long(file):
    names = [f"column {number}" for number in range(9000)]
    path = file(f"{','.join(names)}\n{'1,' * 8999}1\n")
    assert read_table(path, ["column 8999"]).to_pydict() == {"column 8999": [1]}


def test_no_such_file(file, tmp_path):
    with fails(f"{tmp_path / 'no.csv'} does not exist"):
        read_table(tmp_path / "no.csv")
    (tmp_path / "folder.csv").mkdir()
    with fails(f"{tmp_path / 'folder.csv'} is no file"):
        read_table(tmp_path / "folder.csv")
    kinds = ".csv, .csv.gz, .tsv, .tsv.gz, .parquet, .jsonl, .ndjson"
    with fails(f"cannot read f.xlsx: expected one of {kinds}"):
        read_table("f.xlsx")


def test_parquet(tmp_path):
    path = tmp_path / "f.parquet"
    pyarrow.parquet.write_table(pa.table({"id": [7, 8], "y": ["1", "x"], "z": [1, 2]}), path)
    table = read_table(path, ["z"], texts=["id"])
    assert table.to_pydict() == {"z": [1, 2], "id": ["7", "8"]}
    with fails(f"{path}, column 'y', line 2: 'x' is no number"):
        read_table(path, numbers=["y"])
    with fails(f"{path} has no column 'no': it has id, y, z"):
        read_table(path, ["no"])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"^{re.escape(str(path))} is no complete Parquet file: "):
        read_table(path)


@pytest.mark.parametrize("name", ["F.PARQUET", "F.JSONL", "F.NdJson"])
def test_endings_in_capitals(file, tmp_path, name):
    if name == "F.PARQUET":
        pyarrow.parquet.write_table(pa.table({"a": [1]}), tmp_path / name)
    else:
        file('{"a": 1}\n', name)
    assert read_table(tmp_path / name).to_pydict() == {"a": [1]}


def test_json_lines(file):
    lines = [{"id": 1, "y": 2, "t": "a"}, {"id": 2, "y": None, "t": "b"}]
    path = file("\n".join(map(json.dumps, lines)), "f.jsonl")
    assert read_table(path, ["t"], numbers=["y"]).to_pydict() == {"t": ["a", "b"], "y": [2, None]}
    with fails(f"{path}, column 't', line 1: 'a' is no number"):
        read_table(path, numbers=["t"])
    with fails(f"{path} has no column 'no': it has id, y, t"):
        read_table(path, texts=["no"])
    path = file('{"a": [1]}\n', "f.jsonl")
    with fails(f"{path}, column 'a' holds list<item: int64>: expected numbers"):
        read_table(path, numbers=["a"])


def test_wrong_json_lines(file):
    path = file('{"a": 1}\n{"a": \n', "f.jsonl")
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}, line 2: no JSON: "):
        read_table(path)
    path = file('{"a": 1}\n[2]\n', "f.ndjson")
    with fails(f"{path}, line 2: a list: expected a JSON object"):
        read_table(path)
    path = file("", "f.ndjson")
    with fails(f"cannot read {path}: Empty JSON file"):
        read_table(path)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("1", '"x"', '"x" where a number stood before'),
        ("[1]", "2", "2 where an array stood before"),
        ("[1]", '[2, "x"]', '"x" where a number stood before'),
        ("[[1]]", "[[2], 3]", "3 where an array stood before"),
        ("[[1.5]]", "[[2], [[3]]]", "[3] where a number stood before"),
        ('{"b": 1}', "true", "true where an object stood before"),
    ],
)
def test_values_of_two_kinds_in_json_lines(file, monkeypatch, first, then, message):
    from fastlstm.data import json_lines

    monkeypatch.setattr(json_lines, "_BLOCK_BYTES", 64)
    path = file(f'{{"a": {first}}}\n' * 30 + f'\n{{"a": {then}}}\n', "f.jsonl")
    with fails(f"{path}, column 'a', line 32: {message}"):
        read_table(path)


def test_lines_of_json_that_are_long(file):
    lists = [[1] * 200_000, [2]]
    path = file("".join(json.dumps({"a": values}) + "\n" for values in lists), "f.jsonl")
    assert read_table(path).to_pydict() == {"a": lists}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_a_million_rows_take_little_memory(file):
    """What is held and what is needed on the way, together at most twice the file."""
    rows = "".join(f"series_{i % 7},{i},{i % 997}.251234\n" for i in range(10**6))
    path, small = file("unique_id,ds,y\n" + rows), file("unique_id,ds,y\na,1,2.5\n", "small.csv")
    program = f"""if True:
        import threading
        from fastlstm.data import read_table

        def used():
            lines = open("/proc/self/status").read().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

        read_table({str(small)!r})  # the libraries themselves
        before, most, done = used(), [0], threading.Event()

        def watch():
            while not done.wait(0.002):
                most[0] = max(most[0], used())

        thread = threading.Thread(target=watch)
        thread.start()
        table = read_table({str(path)!r}, numbers=["y"])
        done.set()
        thread.join()
        print(len(table), max(most[0], used()) - before)
    """
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    rows, kilobytes = map(int, found.stdout.split())
    assert rows == 10**6
    assert kilobytes * 1024 < 2 * path.stat().st_size


@pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="counts threads as Linux lists them"
)
def test_an_error_about_columns_starts_no_threads(file):
    # Where a process ends while Arrow starts them, it is aborted and its exit status is lost.
    program = """if True:
        import os, sys
        from fastlstm.data import DataError, read_table
        import pyarrow.csv
        before = len(os.listdir("/proc/self/task"))
        try:
            read_table(sys.argv[1], texts=["no such"])
        except DataError:
            print(len(os.listdir("/proc/self/task")) - before)
    """
    command = [sys.executable, "-c", program, str(file("a,b\n1,2\n"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) <= 1  # Arrow's thread for reading
