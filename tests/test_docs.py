"""The Python and the commands that the pages in docs/ show run."""

from pathlib import Path

import pytest

from markdown_pages import ROOT, commands, fenced_blocks, run_python

COMMANDS = ROOT / "docs" / "command-line.md"
PAGES = [
    page
    for page in sorted((ROOT / "docs").glob("*.md"))
    if page != COMMANDS  # whose commands run behind its Python
    and any(block.language == "python" for block in fenced_blocks(page.read_text("utf-8")))
]


def test_pages_are_found() -> None:
    assert ROOT / "docs" / "training.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    run_python(page, tmp_path)


def test_commands_run(run, tmp_path: Path) -> None:
    run_python(COMMANDS, tmp_path)
    text = COMMANDS.read_text(encoding="utf-8")
    (settings,) = (block.text for block in fenced_blocks(text) if block.language == "toml")
    (tmp_path / "settings.toml").write_text(settings)
    blocks = [block for block in fenced_blocks(text) if block.language == "console"]
    called = [
        arguments
        for block in blocks
        for program, *arguments in commands(f"```console\n{block.text}\n```\n")
        if program == "fastlstm"
    ]
    assert len(called) == text.count("$ fastlstm ")
    for arguments in called:
        status, _, err = run(*arguments)
        assert (status, err) == (0, ""), f"fastlstm {' '.join(arguments)}: {err}"
