"""The parts and the page of an HTML report; every text is escaped where it is inserted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from torchattr.results.sink import Entry
from torchattr.show import image_tag, percent

GENERATOR = '<meta name="generator" content="torchattr">'

NARROW = 420
"""Maximum width of pictures that share a row."""

_SHOWN_ELSEWHERE = ("targets", "coverage", "refused", "versions", "settings")


@dataclass(frozen=True)
class PagePart:
    """One entry as HTML.

    subject: the picture or model that it is about; parts with the same subject form a section.
    title: its heading.
    body: the HTML below the heading.
    versions: of the packages that it was made with.
    wide: whether it takes a whole row.
    """

    subject: str
    title: str
    body: str
    versions: Mapping[str, str]
    wide: bool


def part_of(entry: Entry) -> PagePart:
    """Return an entry as HTML."""
    record = entry.record
    title = entry.title or entry.group or "Evidence per class"
    body = [
        _scores(record.get("targets", [])),
        f"<pre>{escape(entry.text)}</pre>" if entry.text else "",
        _picture(entry, title),
        _coverage(record.get("coverage", {})),
        _refused(record.get("refused", {})),
        _details("Details", {k: v for k, v in record.items() if k not in _SHOWN_ELSEWHERE}),
        _details("Settings", record.get("settings", {})),
    ]
    wide = bool(entry.text) or (entry.picture is not None and entry.picture.width > NARROW)
    return PagePart(entry.name, title, "".join(body), record.get("versions", {}), wide)


def page(title: str, parts: Sequence[PagePart], skipped: Mapping[str, str]) -> str:
    """Return the whole page. title: already escaped."""
    sections: dict[str, list[tuple[str, PagePart]]] = {}
    for number, part in enumerate(parts):
        sections.setdefault(part.subject, []).append((f"part-{number}", part))
    return _SHELL.format(
        generator=GENERATOR,
        title=title,
        style=files("torchattr.results").joinpath("report.css").read_text(encoding="utf-8"),
        contents="".join(_contents(sections)),
        sections="".join(_section(subject, listed) for subject, listed in sections.items()),
        skipped=_listed("Left out", skipped),
        versions=_versions(parts),
    )


_SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{generator}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
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


def _contents(sections: Mapping[str, list[tuple[str, PagePart]]]) -> Iterator[str]:
    for subject, listed in sections.items():
        lines = "".join(
            f'<li><a href="#{anchor}">{escape(part.title)}</a></li>' for anchor, part in listed
        )
        yield f'<li><a href="#{listed[0][0]}-top">{escape(subject)}</a><ol>{lines}</ol></li>\n'


def _article(anchor: str, part: PagePart) -> str:
    wide = ' class="wide"' if part.wide else ""
    return f'<article id="{anchor}"{wide}><h3>{escape(part.title)}</h3>{part.body}</article>\n'


def _section(subject: str, listed: list[tuple[str, PagePart]]) -> str:
    parts = "".join(_article(anchor, part) for anchor, part in listed)
    top = f"{listed[0][0]}-top"
    return f'<section id="{top}"><h2>{escape(subject)}</h2>\n{parts}</section>\n'


def _picture(entry: Entry, title: str) -> str:
    if entry.picture is None:
        return ""
    return f'<div class="picture">{image_tag(entry.picture, f"{title}: {entry.name}")}</div>'


def _scores(targets: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(_score(target) for target in targets)
    return f'<table class="scores"><tbody>{rows}</tbody></table>' if rows else ""


def _score(target: Mapping[str, Any]) -> str:
    name = escape(str(target["name"]))
    chance = target.get("probability")
    if chance is None:
        return f"<tr><th>{name}</th><td></td><td>score {target['score']:.3g}</td></tr>"
    bar = f'<meter min="0" max="1" value="{chance:.4f}"></meter>'
    return f"<tr><th>{name}</th><td>{bar}</td><td>{escape(percent(chance))}</td></tr>"


def _coverage(coverage: Mapping[str, Any]) -> str:
    return _listed("Coverage: what the rules rewrote", coverage.get("methods", {}))


def _refused(refused: Mapping[str, str]) -> str:
    return _listed("Left out", refused)


def _listed(heading: str, lines: Mapping[str, str]) -> str:
    if not lines:
        return ""
    return f'<div class="note"><h4>{escape(heading)}</h4>{_terms(lines)}</div>'


def _details(heading: str, facts: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in facts.items() if value not in (None, [], {}, ())}
    if not facts:
        return ""
    return f"<details><summary>{escape(heading)}</summary>{_terms(facts)}</details>"


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
