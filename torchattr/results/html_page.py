"""The parts and the page of an HTML report; every text is escaped where it is inserted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from torchattr.results.sink import Entry
from torchattr.show import ThemeName, image_tag, page_style, percent, title_of

GENERATOR = '<meta name="generator" content="torchattr">'

_SHOWN_ELSEWHERE = ("targets", "coverage", "refused", "versions", "settings")


@dataclass(frozen=True)
class PagePart:
    """One entry as HTML.

    subject: the picture or model that it is about; parts with the same subject form a section.
    title: its heading.
    body: the HTML below the heading.
    versions: of the packages that it was made with.
    layer: the layer that it is about, if any; parts of one stand beside each other.
    """

    subject: str
    title: str
    body: str
    versions: Mapping[str, str]
    layer: str = ""


def part_of(entry: Entry) -> PagePart:
    """Return an entry as HTML."""
    record = entry.record
    title = entry.title or entry.group or "Evidence per class"
    facts = {key: value for key, value in record.items() if key not in _SHOWN_ELSEWHERE}
    body = [
        _pictures(entry, title),
        _text(entry, title),
        notes_html(record.get("coverage", {}).get("methods", {}), record.get("refused", {})),
        _details({**facts, "settings": record.get("settings", {})}),
    ]
    subject = entry.subject or entry.name
    return PagePart(
        subject, title, "".join(body), record.get("versions", {}), record.get("layer", "")
    )


def notes_html(notes: Mapping[str, str], refused: Mapping[str, Any]) -> str:
    """Return what the rules of methods rewrote, and why others were left out.

    notes: a sentence for each method; methods with the same one are listed together.
    refused: the reason for each method.
    """
    alike: dict[str, list[str]] = {}
    for method, note in notes.items():
        alike.setdefault(note, []).append(title_of(method))
    rewrote = {", ".join(methods): note for note, methods in alike.items()}
    left = {title_of(method): str(reason) for method, reason in refused.items()}
    return _listed("Coverage: what the rules rewrote", rewrote) + _listed("Left out", left)


def page(
    title: str,
    parts: Sequence[PagePart],
    skipped: Mapping[str, str],
    theme: ThemeName | None = None,
) -> str:
    """Return the whole page. title: already escaped. theme: by default that of the system."""
    sections = _sections(parts)
    schemes, where_dark = _SCHEMES[theme]
    return _SHELL.format(
        generator=GENERATOR,
        title=title,
        style=_style("report.css") + page_style(),
        schemes=schemes,
        where_dark=where_dark,
        dark=_style("report-dark.css"),
        contents="".join(_contents(sections)),
        sections="".join(_section(subject, listed) for subject, listed in sections.items()),
        skipped=_listed("Left out", skipped),
        versions=_versions(parts),
    )


_SCHEMES: Mapping[ThemeName | None, tuple[str, str]] = {
    None: ("light dark", "(prefers-color-scheme: dark)"),
    "light": ("light", "not all"),
    "dark": ("dark", "all"),
}
"""The colour schemes of a page by its theme, and the media for which the dark colours hold."""


def _style(name: str) -> str:
    return files("torchattr.results").joinpath(name).read_text(encoding="utf-8")


_SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{generator}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{schemes}">
<title>{title}</title>
<style>
{style}</style>
<style media="{where_dark}">
{dark}</style>
</head>
<body>
<nav aria-label="Contents"><p class="brand">torchattr</p>
<ol>{contents}</ol>
</nav>
<main>
<h1>{title}</h1>
{sections}{skipped}<footer>Made with {versions}.</footer>
</main>
</body>
</html>
"""


def _sections(parts: Sequence[PagePart]) -> dict[str, list[tuple[str, PagePart]]]:
    """Return the parts of each subject with their anchors: pictures first, layer by layer."""
    first: dict[str, int] = {}
    sections: dict[str, list[tuple[str, PagePart]]] = {}
    for number, part in enumerate(parts):
        first.setdefault(part.layer, number)
        sections.setdefault(part.subject, []).append((f"part-{number}", part))
    for listed in sections.values():
        listed.sort(key=lambda one: first[one[1].layer] if one[1].layer else parts.index(one[1]))
    return dict(sorted(sections.items(), key=lambda one: not _has_pictures(one[1])))


def _has_pictures(listed: Sequence[tuple[str, PagePart]]) -> bool:
    return any("<img " in part.body for _, part in listed)


def _contents(sections: Mapping[str, list[tuple[str, PagePart]]]) -> Iterator[str]:
    for subject, listed in sections.items():
        lines = "".join(
            f'<li><a href="#{anchor}">{escape(part.title)}</a></li>' for anchor, part in listed
        )
        yield f'<li><a href="#{listed[0][0]}-top">{escape(subject)}</a><ol>{lines}</ol></li>\n'


def _article(anchor: str, part: PagePart) -> str:
    wide = "" if part.layer else ' class="wide"'
    return f'<article id="{anchor}"{wide}><h3>{escape(part.title)}</h3>{part.body}</article>\n'


def _section(subject: str, listed: list[tuple[str, PagePart]]) -> str:
    parts = "".join(_article(anchor, part) for anchor, part in listed)
    top = f"{listed[0][0]}-top"
    return f'<section id="{top}"><h2>{escape(subject)}</h2>\n{parts}</section>\n'


def _pictures(entry: Entry, title: str) -> str:
    if entry.drawing is not None and entry.drawing.source is not None:
        return entry.drawing.source.html()
    targets = _scores(entry.record.get("targets", []))
    if entry.picture is None:
        return targets
    tag = image_tag(entry.picture, f"{title}: {entry.name}")
    return f'{targets}<div class="picture">{tag}</div>'


def _text(entry: Entry, title: str) -> str:
    """Return the text of an entry; what is wider than the page is scrolled, by keyboard as well."""
    scrolled = f'tabindex="0" role="region" aria-label="{escape(title)}"'
    if entry.markup:
        return f'<div class="table" {scrolled}>{entry.markup}</div>'
    return f"<pre {scrolled}>{escape(entry.text)}</pre>" if entry.text else ""


def _scores(targets: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><th>{escape(str(one['name']))}</th><td>{escape(_score(one))}</td></tr>"
        for one in targets
    )
    return f'<table class="values"><tbody>{rows}</tbody></table>' if rows else ""


def _score(target: Mapping[str, Any]) -> str:
    chance = target.get("probability")
    return f"score {target['score']:.3g}" if chance is None else percent(chance)


def _listed(heading: str, lines: Mapping[str, str]) -> str:
    if not lines:
        return ""
    return f'<div class="notes"><h4>{escape(heading)}</h4>{_terms(lines)}</div>'


def _details(facts: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in facts.items() if value not in (None, [], {}, ())}
    return f"<details><summary>Details</summary>{_terms(facts)}</details>" if facts else ""


def _terms(facts: Mapping[str, Any]) -> str:
    rows = (f"<dt>{escape(str(key))}</dt><dd>{_value(value)}</dd>" for key, value in facts.items())
    return f"<dl>{''.join(rows)}</dl>"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _terms(value)
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _versions(parts: Sequence[PagePart]) -> str:
    found = {name: number for part in parts for name, number in part.versions.items()}
    return escape(", ".join(f"{name} {number}" for name, number in found.items()) or "torchattr")
