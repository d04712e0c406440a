"""A report as one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from fastlstm.atomic import write_atomically
from fastlstm.report.markup import Markup, element
from fastlstm.report.metrics import Scores, headline
from fastlstm.report.section import Section

# The file is safe to open wherever its data came from: nothing is loaded, no script runs.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Summary:
    """What stands at the top of a page.

    Attributes:
        title: such as "mnist".
        description: a sentence: what was trained, on what.
        scores: the first of them is shown large.
        facts: what else a reader looks for: data, time, seed, versions.
    """

    title: str
    description: str
    scores: Scores
    facts: Mapping[str, str] = field(default_factory=dict)


def render(summary: Summary, sections: Sequence[Section]) -> str:
    """The page as HTML."""
    names = _anchors(sections)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", f"{summary.title} · fastlstm"),
        # Without it a browser asks the server of the page for an icon.
        element("link", rel="icon", href="data:,"),
        element("style", _style_sheet()),
    )
    links = [
        element("li", element("a", section.title, href=f"#{name}"))
        for section, name in zip(sections, names, strict=True)
    ]
    facts = [
        element("div", element("dt", name), element("dd", value))
        for name, value in summary.facts.items()
    ]
    header = element(
        "header",
        element("p", "fastlstm · training report", class_="kind"),
        element("h1", summary.title),
        element("p", summary.description, class_="description"),
        headline(summary.scores),
        element("dl", *facts, class_="facts") if facts else Markup(),
    )
    contents = element("nav", element("ul", *links), aria_label="Sections") if links else Markup()
    body = [_section(section, name) for section, name in zip(sections, names, strict=True)]
    page = element(
        "html", head, element("body", header, contents, element("main", *body)), lang="en"
    )
    return f"<!doctype html>\n{page}\n"


def write(path: Path, summary: Summary, sections: Sequence[Section]) -> None:
    """Write the page to `path`, whole or not at all: a page that is there is replaced at once.

    Raises:
        OSError: the disk refuses; nothing has changed.
    """
    write_atomically(path, render(summary, sections))


def _section(section: Section, name: str) -> Markup:
    note = element("p", section.note, class_="note") if section.note else Markup()
    return element("section", element("h2", section.title), note, section.body, id=name)


def _anchors(sections: Sequence[Section]) -> list[str]:
    """A name for each section that is its own, made of its title."""
    names: list[str] = []
    for section in sections:
        name = plain = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") or "section"
        number = 1
        while name in names:
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names


def _style_sheet() -> Markup:
    file = resources.files("fastlstm.report").joinpath("style.css")
    return Markup(file.read_text(encoding="utf-8"))
