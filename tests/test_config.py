"""Configurations: from files, mappings and the command line into typed dataclasses, and back."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from fastlstm.config import ConfigError, from_mapping, read_mapping, to_mapping, with_overrides


@dataclass(frozen=True)
class Layer:
    hidden_size: int = 64
    zoneout: float | tuple[float, float] = 0.0
    bidirectional: bool = False


@dataclass(frozen=True)
class Run:
    name: str
    rate: float = 0.1
    patience: int | None = None
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    trackers: tuple[str, ...] = ()
    layer: Layer = field(default_factory=Layer)
    decoder: Layer | None = None
    output: Path | None = None
    weights: dict[str, float] = field(default_factory=dict)
    widths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate is {self.rate:g}: expected more than 0")


FULL = {
    "name": "a",
    "rate": 1,
    "patience": 3,
    "schedule": "constant",
    "trackers": ["tensorboard"],
    "layer": {"hidden_size": 5, "zoneout": [0.5, 0.25]},
    "decoder": {"bidirectional": True},
    "output": "runs/a",
    "weights": {"x": 2},
    "widths": [3, 4],
}
FULL_RUN = Run(
    "a",
    1.0,
    3,
    "constant",
    ("tensorboard",),
    Layer(5, (0.5, 0.25)),
    Layer(bidirectional=True),
    Path("runs/a"),
    {"x": 2.0},
    [3, 4],
)


def test_a_mapping_becomes_the_dataclass_and_comes_back() -> None:
    run = from_mapping(Run, FULL, "run.toml")
    assert run == FULL_RUN
    assert (type(run.rate), type(run.weights["x"]), type(run.trackers)) == (float, float, tuple)
    mapping = to_mapping(run)
    assert mapping["layer"] == {"hidden_size": 5, "zoneout": [0.5, 0.25], "bidirectional": False}
    assert from_mapping(Run, json.loads(json.dumps(mapping)), "again") == run
    assert from_mapping(Run, {"name": "b"}, "run.toml") == Run("b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rat": 1}, "unknown key rat: did you mean rate?"),
        ({"layer": {"hidden": 3}}, "unknown key layer.hidden: did you mean hidden_size?"),
        (
            {"layer": {"qqq": 3}},
            "unknown key layer.qqq: expected one of hidden_size, zoneout, bidirectional",
        ),
        ({"rate": "fast"}, "rate is 'fast': expected a number"),
        ({"rate": True}, "rate is True: expected a number"),
        ({"name": 3}, "name is 3: expected text"),
        ({"patience": 1.5}, "patience is 1.5: expected a whole number or none"),
        ({"schedule": "linear"}, "schedule is 'linear': expected one of one_cycle, constant"),
        ({"layer": 3}, "layer is 3: expected a table of hidden_size, zoneout, bidirectional"),
        ({"layer": {"hidden_size": True}}, "layer.hidden_size is True: expected a whole number"),
        ({"layer": {"bidirectional": 1}}, "layer.bidirectional is 1: expected true or false"),
        ({"decoder": {"hidden_size": "x"}}, "decoder.hidden_size is 'x': expected a whole number"),
        (
            {"layer": {"zoneout": [0.5]}},
            "layer.zoneout is [0.5]: expected a list of 2: a number, then a number",
        ),
        ({"layer": {"zoneout": "x"}}, "layer.zoneout is 'x': expected a number or a list of 2"),
        ({"trackers": "tensorboard"}, "trackers is 'tensorboard': expected a list, each text"),
        ({"trackers": ["a", 2]}, "trackers[1] is 2: expected text"),
        ({"weights": {"x": "y"}}, "weights.x is 'y': expected a number"),
        ({"weights": 2}, "weights is 2: expected names, each with a number"),
        ({"output": 2}, "output is 2: expected a path or none"),
        ({"rate": -1}, "rate is -1: expected more than 0"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_mapping(Run, {"name": "a", **change}, "run.toml")
    assert str(error.value).startswith(f"run.toml: {message}")


def test_missing_and_no_mapping() -> None:
    with pytest.raises(ConfigError, match=r"^run.toml: name is missing: expected text$"):
        from_mapping(Run, {}, "run.toml")
    with pytest.raises(ConfigError, match=r"^run.toml: it is 3: expected a table of name, rate"):
        from_mapping(Run, 3, "run.toml")  # type: ignore[arg-type]


def test_overrides() -> None:
    run = with_overrides(
        Run("a", patience=4, output=Path("x")),
        [
            "name=12",
            "rate=1e-3",
            "patience=none",
            "schedule=constant",
            "trackers=tensorboard, wandb",
            "layer.zoneout=0.5,0.25",
            "layer.bidirectional=true",
            "decoder.hidden_size=7",
            "output=runs/b",
            'weights={"x": 2}',
            "widths=[1, 2]",
            "rate = 2",
        ],
    )
    assert run == Run(
        "12",
        2.0,
        None,
        "constant",
        ("tensorboard", "wandb"),
        Layer(zoneout=(0.5, 0.25), bidirectional=True),
        Layer(7),
        Path("runs/b"),
        {"x": 2.0},
        [1, 2],
    )
    assert with_overrides(run, ["trackers=", "output=none"]).trackers == ()
    assert with_overrides(Run("a"), []) == Run("a")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("rate", "'rate' sets nothing: expected NAME=VALUE"),
        ("=3", "'=3' sets nothing: expected NAME=VALUE"),
        ("rat=3", "rat=3: unknown key rat: did you mean rate?"),
        ("rate=x", "rate=x: rate is 'x': expected a number"),
        ("patience=x", "patience=x: patience is 'x': expected a whole number or none"),
        ("rate.x=3", "rate.x=3: rate has no keys of its own"),
        ("layer.hiden_size=3", "layer.hiden_size=3: unknown key hiden_size: did you mean"),
        ("rate=-1", "rate=-1: rate is -1: expected more than 0"),
        ("layer.bidirectional=yes", "layer.bidirectional=yes: bidirectional is 'yes': expected"),
    ],
)
def test_overrides_that_do_not_fit(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        with_overrides(Run("a"), [assignment])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'rate = 1e-3\n[layer]\nsize = 3\nnames = ["x"]\n'),
        ("a.yaml", "rate: 1e-3\nlayer:\n  size: 3\n  names: [x]\n"),
        ("a.yml", "{rate: 1.0E-3, layer: {size: 3, names: [x]}}"),
        ("a.JSON", '{"rate": 1e-3, "layer": {"size": 3, "names": ["x"]}}'),
    ],
)
def test_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_mapping(tmp_path / name) == {"rate": 1e-3, "layer": {"size": 3, "names": ["x"]}}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", " ends in '.txt': expected one of .toml, .yaml, .yml, .json"),
        ("a.toml", "a = 1\nb = \n", ", line 2: not valid TOML: "),
        ("a.toml", "a = 1\na = 2\n", ", line 2: not valid TOML: Cannot overwrite a value"),
        ("a.toml", "a = 1\nb = [1,", ", line 2: not valid TOML: "),
        ("a.yaml", "a: 1\nb: [1\nc: 2\n", ", line 3: not valid YAML: "),
        ("a.yaml", "a: 1\nb:\n  c: 1\n  c: 2\n", ", line 4: not valid YAML: the key 'c' is given"),
        ("a.yaml", "a: !!python/name:os.system\n", ", line 1: not valid YAML: could not determine"),
        ("a.yaml", "- 1\n", " holds no mapping: expected keys and their values"),
        ("a.yaml", "1: 2\n", " has the key 1: expected a name"),
        ("a.json", '{"a": 1,\n "b"}', ", line 2: not valid JSON: "),
        ("a.json", '{"a": 1, "a": 2}', " gives the key 'a' twice"),
        ("a.json", "[1]", " holds no mapping: expected keys and their values"),
        ("a.json", "\xff", " is not UTF-8 text: invalid start byte"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError) as error:
        read_mapping(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    with pytest.raises(ConfigError) as error:
        read_mapping(path)
    assert str(error.value) == f"cannot read {path}: No such file or directory"
