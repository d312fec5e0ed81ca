"""Tables of the results, copied into the documentation between two comments.

A page requests a section of a machine's results by `<!-- results: MACHINE SECTION -->`; from there
to `<!-- end of results -->`, it holds the table as the run printed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report.results import Results

ROOT = Path(__file__).parents[2]
QUOTE = re.compile(
    r"(?P<begin><!-- results: (?P<machine>\S+) (?P<section>\S+) -->\n)"
    r"(?P<text>.*?)(?P<end><!-- end of results -->)",
    re.DOTALL,
)


def renew(results: Path, root: Path = ROOT) -> None:
    """Update every quoted table."""
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        page.write_text(renewed(text, results), encoding="utf-8")


def renewed(text: str, results: Path) -> str:
    """Return a page's text with its tables as in the current results."""
    return QUOTE.sub(lambda found: found["begin"] + _quoted(found, results) + found["end"], text)


def pages(root: Path = ROOT) -> Iterator[Path]:
    """Return the pages that quote results."""
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        if page.exists() and QUOTE.search(page.read_text(encoding="utf-8")):
            yield page


def _quoted(found: re.Match[str], results: Path) -> str:
    path = results / f"{found['machine']}.json"
    measured = Results.read(path) if path.exists() else None
    if measured is None or found["section"] not in ("targets", *measured.sections):
        return "\nNot measured yet.\n\n"
    return f"\n{measured.part(found['section'])}\n"
