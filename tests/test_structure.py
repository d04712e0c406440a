"""How the code is divided: which part may import which, what is public, how long a file is."""

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastlstm

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"

# Left may import right, never the other way. The root is what users import, and it is not for the
# parts that it is made of; `training`, `data` and `models` know nothing of each other.
CORE = {"_engine"}
MAY_IMPORT = {
    "ops": CORE,
    "nn": CORE | {"ops"},
    "": CORE | {"ops", "nn"},  # fastlstm/__init__.py
    "stream": CORE | {"ops", "nn"},
    "export": CORE | {"ops", "nn"},
    "inspect": CORE | {"ops", "nn"},
    "bench": CORE | {"ops", "nn"},
    "atomic": set(),
    "config": set(),
    "models": CORE | {"ops", "nn", "config"},
    "data": CORE | {"ops", "nn", "config", "atomic"},
    "report": {"atomic"},  # it shows plain data
    "training": CORE | {"ops", "nn", "config", "atomic"},
}
LIBRARY = set().union(*MAY_IMPORT.values(), MAY_IMPORT)
MAY_IMPORT["tasks"] = LIBRARY - {""}
MAY_IMPORT[""] |= {"models", "training", "tasks"}  # those when they are first asked for
MAY_IMPORT["runs"] = LIBRARY | {"tasks"}
MAY_IMPORT["cli"] = LIBRARY | {"tasks", "runs"}

PUBLIC = [
    "LSTM",
    "Choice",
    "Explanation",
    "Forecaster",
    "LSTMCell",
    "LSTMConfig",
    "LayerParameters",
    "LayerTrace",
    "SequenceClassifier",
    "SequenceTagger",
    "TextClassifier",
    "Trace",
    "TrainingConfig",
    "__version__",
    "backend",
    "explain",
    "lstm",
    "lstm_cell",
    "replace",
    "restore",
]


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.glob("fastlstm/**/*.py"))}
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


def part(module: str) -> str:
    """The first folder (or extension module) of a module: "nn" of ``fastlstm.nn.lstm``."""
    return module.split(".")[1] if "." in module else ""


def imports(module: str) -> Iterator[str]:
    """The modules of this package that a module imports, wherever in it."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            # What is imported from a package may be a module of its own.
            names = [f"{base}.{alias.name}" for alias in node.names]
            found = [name if is_module(name) else base for name in names]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == "fastlstm")


def is_module(name: str) -> bool:
    return name in MODULES or name == "fastlstm._engine"


def test_the_modules_are_found() -> None:
    assert {"fastlstm", "fastlstm.nn.lstm", "fastlstm.ops.equations"} <= MODULES.keys()
    assert "fastlstm.nn.functional" in imports("fastlstm.nn.cell")  # from package import module
    assert "fastlstm.ops.backends" in imports("fastlstm.nn.stack")  # from module import name
    assert "fastlstm._engine" in imports("fastlstm")
    assert "fastlstm.cli.commands" in imports("fastlstm.cli.main")  # inside a function


def test_imports_go_one_way() -> None:
    wrong = {
        f"{module} imports {imported}"
        for module in MODULES
        for imported in imports(module)
        if part(imported) not in MAY_IMPORT[part(module)] | {part(module)}
    }
    assert not wrong


@pytest.mark.parametrize("graph", ["modules", "parts"])
def test_imports_have_no_cycle(graph: str) -> None:
    edges: dict[str, set[str]] = {}
    for module in MODULES:
        for imported in imports(module):
            one, other = module, imported
            if graph == "parts":
                one, other = part(module), part(imported)
            # A package's __init__ may gather what its own modules hold.
            if one != other:
                edges.setdefault(one, set()).add(other)
    graphlib.TopologicalSorter(edges).prepare()  # raises a CycleError that names the cycle


def test_import_loads_torch_and_the_engine_alone() -> None:
    program = """if True:
        import sys
        import torch
        before = set(sys.modules)
        import fastlstm
        print(*set(sys.modules) - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    added = set(done.stdout.split())
    assert {"fastlstm._engine", "fastlstm.nn", "fastlstm.ops"} <= added
    heavy = {"typer", "rich", "sklearn", "pooch", "safetensors", "triton", "pandas", "accelerate"}
    heavy |= {"pyarrow", "narwhals", "tokenizers"}
    heavy |= {"torch._dynamo", "torch._inductor", "torch.onnx"}
    heavy |= {f"fastlstm.{part}" for part in ("tasks", "cli", "training", "data", "models")}
    heavy |= {"fastlstm.bench", "fastlstm.config", "fastlstm.report"}
    assert not heavy & added
    others = {name.partition(".")[0] for name in added} - sys.stdlib_module_names
    assert others <= {"fastlstm", "torch", "numpy"}


def test_public_names() -> None:
    assert fastlstm.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(fastlstm))
    assert fastlstm.SequenceClassifier is fastlstm.tasks.SequenceClassifier
    with pytest.raises(AttributeError, match="module 'fastlstm' has no attribute 'GRU'"):
        _ = fastlstm.GRU


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(fastlstm), "TextClassifier", raising=False)
    for name in [name for name in sys.modules if name.startswith("fastlstm.tasks")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    expected = r"fastlstm.TextClassifier needs sklearn.*: pip install 'fastlstm\[tasks\]'"
    with pytest.raises(ModuleNotFoundError, match=expected):
        _ = fastlstm.TextClassifier


@pytest.mark.parametrize("package", PACKAGES)
def test_all_names_what_the_package_gathers(package: str) -> None:
    names = getattr(importlib.import_module(package), "__all__", None)
    if names is None:
        assert not list(imports(package)), "it gathers names and has no __all__"
        return
    assert names == sorted(set(names), key=order)
    missing = [name for name in names if not hasattr(importlib.import_module(package), name)]
    assert not missing


def order(name: str) -> tuple[int, list[tuple[int, str]]]:
    """As isort and ruff's RUF022: constants, then classes, then the rest; 9 before 10."""
    constant = len(name) > 1 and name.isupper()
    kind = 0 if constant else 1 if name[:1].isupper() else 2
    pieces = re.findall(r"\d+|\D+", name)
    return kind, [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]


def test_files_are_short() -> None:
    kinds = {".py", ".pyi", ".h", ".cpp", ".cu"}
    paths = [
        path
        for folder in ("src", "csrc", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds
    ]
    assert len(paths) > 30
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in paths
    }
    assert not {path: length for path, length in lengths.items() if length >= 400}


def test_no_file_names_a_folder_of_one_machine() -> None:
    # In two pieces, so that this file does not hold what it looks for.
    wanted = [f"/{name}/".encode() for name in ("wo" + "rk", "ro" + "ot")]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = [path for path in listed.split("\0") if path and (ROOT / path).is_file()]
    assert "pyproject.toml" in paths
    found = {
        f"{path}:{number}"
        for path in paths
        for number, line in enumerate((ROOT / path).read_bytes().splitlines(), 1)
        if any(folder in line for folder in wanted)
    }
    assert not found
