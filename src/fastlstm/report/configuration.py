"""Every setting of the run, folded away until somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastlstm.report import formats
from fastlstm.report.markup import element
from fastlstm.report.section import Section, table


def configuration(settings: Mapping[str, object]) -> Section:
    """The settings as a folded table, nested ones under dotted names: ``training.epochs``.

    Args:
        settings: as in the run's config.json: mappings, lists, texts, numbers, None.
    """
    rows = [[element("code", name), element("code", value)] for name, value in _flat(settings)]
    content = table("Settings of the run", ["setting", "value"], rows)
    summary = element("summary", formats.count(len(rows), "setting"))
    return Section("Configuration", element("details", summary, content))


def _flat(settings: Mapping[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value if isinstance(value, str) else repr(value)
