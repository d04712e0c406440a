"""The Python that the pages in docs/ show runs."""

from pathlib import Path

import pytest

from markdown_pages import ROOT, fenced_blocks, run_python

PAGES = [
    page
    for page in sorted((ROOT / "docs").glob("*.md"))
    if any(block.language == "python" for block in fenced_blocks(page.read_text("utf-8")))
]


def test_pages_are_found() -> None:
    assert ROOT / "docs" / "training.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    run_python(page, tmp_path)
