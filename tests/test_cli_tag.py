"""`fastlstm train tag` on words, as a user calls it."""

import json

from tagger_cases import sentences

QUICK = (
    "--epochs",
    2,
    "--hidden-size",
    4,
    "--set",
    "embedding_size=4",
    "--set",
    "character_size=4",
)


def test_from_a_file_to_predictions(run, tmp_path):
    words, tags = sentences(30)
    lines = [json.dumps({"tokens": w, "labels": t}) for w, t in zip(words, tags, strict=True)]
    (tmp_path / "bank.jsonl").write_text("\n".join(lines) + "\n")
    status, out, err = run("train", "tag", "bank.jsonl", *QUICK, "--output", "one")
    assert (status, err) == (0, "")
    assert out.startswith("bank: 24 training, 6 test sentences (6 of 30 sentences, drawn at random")
    assert "this model" in out and "most frequent" in out

    status, again, err = run("evaluate", "one", "bank.jsonl")
    assert (status, err) == (0, "")
    assert "accuracy" in again and "macro F1" in again

    (tmp_path / "new.txt").write_text("the cat sees that\n")
    status, _, err = run("predict", "one", "new.txt", "--output", "new.csv")
    assert (status, err) == (0, "")
    rows = (tmp_path / "new.csv").read_text().replace('"', "").splitlines()
    assert rows[0] == "sentence,token,prediction,probability"
    assert [row.split(",")[1] for row in rows[1:]] == [
        "the",
        "cat",
        "sees",
        "that",
    ]


def test_help(run):
    status, out, err = run("train", "tag", "--help")
    assert (status, err) == (0, "")
    for expected in ("ud-ewt, gesture-phase, or the path", "--label", "--tokens", "--sequence"):
        assert expected in " ".join(out.split())
