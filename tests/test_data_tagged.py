"""Tagged sentences: the three file formats, and every fault of a line is named."""

import json
import re

import pytest

from fastlstm.data import (
    DataError,
    TaggedSentences,
    read_conll,
    read_conllu,
    read_tagged_json_lines,
)

CONLLU = """\
# sent_id = 1
# text = I don't.
1\tI\tI\tPRON\tPRP\tNumber=Sing|Person=1\t2\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t0\troot\t_\t_
3\tn't\tnot\tPART\tRB\tPolarity=Neg\t2\tadvmod\t_\tSpaceAfter=No
3.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t0:root\t_
4\t.\t.\tPUNCT\t.\t_\t2\tpunct\t_\t_


1\tN\u0085o\u00a0x\tno\tINTJ\tUH\t_\t0\troot\t_\t_
"""


def fails(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


@pytest.fixture
def file(tmp_path):
    def write(text, name="file.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_conllu(file, end):
    path = file(CONLLU.replace("\n", end))
    sentences = read_conllu(path, ("upos", "xpos", "feats", "lemma"))
    assert sentences.tokens == [["I", "do", "n't", "."], ["N\u0085o\u00a0x"]]
    assert sentences.labels == {
        "upos": [["PRON", "AUX", "PART", "PUNCT"], ["INTJ"]],
        "xpos": [["PRP", "VBP", "RB", "."], ["UH"]],
        "feats": [["Number=Sing|Person=1", "_", "Polarity=Neg", "_"], ["_"]],
        "lemma": [["I", "do", "not", "."], ["no"]],
    }
    assert (len(sentences), sentences.token_count) == (2, 5)
    assert sentences.select([1]).labels["upos"] == [["INTJ"]]
    assert list(read_conllu(CONLLU.encode()).labels) == ["upos"]


def test_wrong_conllu(file):
    path = file("1\tI\tI\n")
    with fails(f"{path}, line 1: 3 columns: expected the 10 of CoNLL-U, with tabs between"):
        read_conllu(path)
    path = file("#\nx" + "\t_" * 9)
    with fails(f"{path}, line 2: 'x' is no number of a word"):
        read_conllu(path)
    with fails("no target 'deprel': expected some of lemma, upos, xpos, feats"):
        read_conllu(path, ("deprel",))
    with fails("the bank holds no sentence"):
        read_conllu(b"# only\n\n", shown="the bank")
    path = file(b"# fine\n# \xff\n")
    with fails(f"{path}, line 2: not UTF-8 text: save it as UTF-8"):
        read_conllu(path)
    with fails(f"{path}.no does not exist"):
        read_conllu(f"{path}.no")


def test_conll_columns(file):
    path = file("-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\n. . O O\n\n\nNew York\tX\tB-LOC\n")
    sentences = read_conll(path)
    assert sentences.tokens == [["EU", "."], ["New York"]]
    assert sentences.labels == {"label": [["B-ORG", "O"], ["B-LOC"]]}
    two = read_conll(path, ("chunk", "entity"))
    assert two.labels == {"chunk": [["B-NP", "O"], ["X"]], "entity": [["B-ORG", "O"], ["B-LOC"]]}
    path = file("a X\nb\n")
    with fails(f"{path}, line 2: 1 columns: expected a token and 1 labels"):
        read_conll(path)


def test_byte_order_mark(file):
    assert read_conll(file(b"\xef\xbb\xbfa X\n")).tokens == [["a"]]


def test_json_lines(file):
    lines = [{"words": ["a", "b"], "pos": ["X", 3], "more": 1}, {"words": ["c"], "pos": ["Y"]}]
    path = file("\n".join(map(json.dumps, lines)) + "\n\n")
    sentences = read_tagged_json_lines(path, "words", ("pos",))
    assert sentences == TaggedSentences([["a", "b"], ["c"]], {"pos": [["X", "3"], ["Y"]]})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"labels": []}', "expected an object with a list 'tokens'"),
        ("[]", "expected an object with a list 'tokens'"),
        ('{"tokens": [], "labels": []}', "no tokens"),
        ('{"tokens": ["a"], "labels": []}', "0 labels for 1 tokens: expected one each"),
        ('{"tokens": [1.5], "labels": ["X"]}', "'tokens' holds more than texts and integers"),
    ],
)
def test_wrong_json_lines(file, line, message):
    path = file('{"tokens": ["a"], "labels": ["X"]}\n' + line)
    with fails(f"{path}, line 2: {message}"):
        read_tagged_json_lines(path)


def test_no_json(file):
    path = file("{")
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}, line 1: no JSON: "):
        read_tagged_json_lines(path)
    path = file("\n")
    with fails(f"{path} holds no sentence"):
        read_tagged_json_lines(path)


def test_labels_must_fit():
    with fails("pos: sentence 1 has 2 labels for 1 tokens: expected one each"):
        TaggedSentences([["a"], ["b"]], {"pos": [["X"], ["X", "Y"]]})
    with fails("pos: labels for 1 of 2 sentences"):
        TaggedSentences([["a"], ["b"]], {"pos": [["X"]]})
