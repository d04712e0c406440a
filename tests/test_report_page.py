"""The page as a file: whole, safe to open, and right in a real browser."""

import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import browser
from browser import Browser
from fastlstm.report import Metric, Scores, Section, Summary, configuration, render, write
from fastlstm.report.markup import Markup, element, escaped, joined
from report_examples import PAGES, images

SCORES = Scores([Metric("accuracy", 0.5)])
STYLE = Path(__file__).parent.parent / "src/fastlstm/report/style.css"


class Outline(HTMLParser):
    """Every element's name and attributes; elements that are open in the wrong order are errors."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("br", "img", "link", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_text_is_escaped_and_markup_is_not() -> None:
    assert element("td", "a < b & 'c'") == "<td>a &lt; b &amp; &#x27;c&#x27;</td>"
    assert element("p", element("b", "x"), "<i>") == "<p><b>x</b>&lt;i&gt;</p>"
    assert joined(["<", Markup("<br>")]) == "&lt;<br>"
    assert escaped("a\x00b\x1b\ud800\n") == "a\ufffdb\ufffd\ufffd\n"


def test_attributes() -> None:
    made = element("img", class_='a"b', aria_label="x", width=3, alt="", hidden=True, id=None)
    assert made == '<img class="a&quot;b" aria-label="x" width="3" alt="" hidden>'
    assert element("i", viewBox="0 0 1 1", hidden=False) == '<i viewBox="0 0 1 1"></i>'


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_nothing_and_is_accessible(name: str) -> None:
    page = render(*PAGES[name]())
    outline = Outline(page)
    names = {tag for tag, _ in outline.elements}
    assert not names & {"script", "iframe", "object", "form", "base"}
    for tag, attributes in outline.elements:
        for attribute in ("src", "href"):
            address = attributes.get(attribute) or "#"
            assert address.startswith(("#", "data:")), (tag, address)
        assert not any(attribute.startswith("on") for attribute in attributes)
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page
    assert page.count("<table") == page.count("<caption>")
    assert page.count("<svg") == page.count('role="img"><title>')
    anchors = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    links = [attributes["href"] for tag, attributes in outline.elements if tag == "a"]
    assert links == [f"#{anchor}" for anchor in anchors]
    assert len(anchors) == len(set(anchors)) > 4


def test_nothing_that_data_says_becomes_markup() -> None:
    evil = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    scores = Scores([Metric(evil, 0.5, 0.4)], evil)
    settings = configuration({evil: {evil: [evil]}})
    section = Section(evil, Markup(), evil)
    page = render(Summary(evil, evil, scores, {evil: evil}), [section, settings])
    names = {tag for tag, _ in Outline(page).elements}
    assert not names & {"script", "img"}
    assert page.count("&lt;script&gt;") > 10


def test_summary_shows_the_first_metric_and_the_facts() -> None:
    page = render(*images())
    assert (
        '<p class="tile score"><span>test accuracy</span> <strong>98.88\u00a0%</strong></p>' in page
    )
    assert "<span>logistic regression</span> <strong>92.63\u00a0%</strong>" in page
    assert "<dt>seed</dt><dd>0</dd>" in page
    alone = render(Summary("run", "A run.", SCORES), [])
    assert alone.count('class="tile ') == 1
    assert "<dl" not in alone
    assert "<nav" not in alone


def test_write_replaces_the_page_at_once(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    summary = Summary("é 一 \ud800", "A run.", SCORES)
    write(path, summary, [])
    assert path.read_text(encoding="utf-8") == render(summary, [])
    assert os.listdir(tmp_path) == ["report.html"]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_write_that_fails_keeps_the_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, Summary("run", "A run.", SCORES), [])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    shares = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def over(share: float, rgb: str, paper: str) -> str:
    """A colour drawn with an opacity over another."""
    below = np.array([int(paper[place : place + 2], 16) for place in (1, 3, 5)])
    mixed = share * np.array(rgb.split(), dtype=float) + (1 - share) * below
    return "#" + "".join(f"{round(value):02x}" for value in mixed)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(dark: bool) -> None:
    schemes = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(schemes) == 2
    colours = dict(re.findall(r"--([\w-]+): ([^;]+);", schemes[dark]))
    for ground in (colours["paper"], colours["card"]):
        for text in ("ink", "quiet", "better", "worse"):
            assert contrast(colours[text], ground) > 4.5, (text, ground)
        for line in ("first", "second", "third"):
            assert contrast(colours[line], ground) > 3, (line, ground)
    # Cells are coloured by an opacity of `least + most × depth`.
    pattern = r"var\(--([\w-]+)\) / calc\((?:([\d.]+) \+ )?([\d.]+) \* var"
    cells = re.findall(pattern, STYLE.read_text(encoding="utf-8"))
    assert len(cells) == 3
    for name, least, most in cells:
        ground = over(float(least or 0) + float(most), colours[name], colours["card"])
        assert contrast(colours["ink"], ground) > 4.5, name


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if browser.EXECUTABLE is None:
        pytest.skip("no Chromium on this machine (Debian, Ubuntu: apt-get install chromium)")
    with Browser() as opened:
        yield opened


@pytest.mark.parametrize("name", PAGES)
def test_in_a_browser(name: str, chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write(path, *PAGES[name]())
    for width in (390, 1280):
        for dark in (False, True):
            chromium.open(path, width, dark=dark)
            assert chromium.complaints == []
            assert chromium.evaluate("document.documentElement.scrollWidth") == width
            # Each chart is there for both widths, and one of the two is seen.
            shown = chromium.evaluate(SHOWN)
            assert shown["narrow"] == (shown["figures"] if width == 390 else 0)
            assert shown["wide"] == (0 if width == 390 else shown["figures"])
            assert chromium.evaluate(OUTSIDE) == []
            assert chromium.evaluate(OVERLAPPING) == []
            ground = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (luminance_of_rgb(ground) < 0.5) == dark
            broken = "[...document.images].filter(image => !image.naturalWidth).length"
            assert chromium.evaluate(broken) == 0


def luminance_of_rgb(colour: str) -> float:
    return float(np.mean([int(number) for number in re.findall(r"\d+", colour)[:3]]) / 255)


SHOWN = """(() => {
  const seen = selector => [...document.querySelectorAll(selector)]
    .filter(element => element.getBoundingClientRect().width).length;
  return {figures: seen(".chart figure, .charts figure"), wide: seen(".for-wide"),
    narrow: seen(".for-narrow")};
})()"""

# Texts of a chart that leave its drawing by more than a rounded pixel.
OUTSIDE = """[...document.querySelectorAll("svg text")].filter(text => {
  const box = text.getBoundingClientRect(), around = text.ownerSVGElement.getBoundingClientRect();
  return box.width && (box.left < around.left - 2 || box.right > around.right + 2
    || box.top < around.top - 2 || box.bottom > around.bottom + 2);
}).map(text => text.textContent)"""

# Texts of one chart that lie upon each other.
OVERLAPPING = """[...document.querySelectorAll("svg")].flatMap(svg => {
  const boxes = [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect());
  return boxes.flatMap((one, place) => boxes.slice(place + 1).filter(other => one.width
    && one.left < other.right - 1 && other.left < one.right - 1
    && one.top < other.bottom - 3 && other.top < one.bottom - 3).map(() => svg.textContent));
})"""


def test_the_browser_sees_what_is_wrong(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "wrong.html"
    path.write_text(
        "<body style='margin: 0'><div style='width: 2000px'>x</div>"
        "<svg width=50 height=30><text y=20>a long text, outside</text><text y=22>b</text></svg>"
        "<script>console.error('wrong')</script></body>"
    )
    chromium.open(path, 390)
    assert len(chromium.complaints) == 1
    assert chromium.evaluate("document.documentElement.scrollWidth") == 2000
    assert chromium.evaluate(OUTSIDE) == ["a long text, outside"]
    assert len(chromium.evaluate(OVERLAPPING)) == 1
