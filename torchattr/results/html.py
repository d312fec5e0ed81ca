"""Results as one HTML page that needs nothing but itself."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from torchattr.core.printable import printable
from torchattr.errors import FolderError, Hint, WayOut
from torchattr.results.files import (
    OVERWRITE,
    cannot_write,
    check_writable,
    locked,
    place_of,
    write_whole,
)
from torchattr.results.html_page import GENERATOR, PagePart, page, part_of
from torchattr.results.sink import Entry, Sink


class Report(Sink):
    """Gathers entries and writes them as one page, which opens offline and runs no scripts.

    A section for each thing that was looked at, with a table of contents; pictures are part of the
    file. A page that a former run wrote is replaced; any other file stays as it is.

    Args:
        file: where the page goes, such as `report.html`.
        overwrite: also replace a file that no former run wrote.
        title: what stands above the page.

    Raises:
        FolderError: the file cannot be written, or is someone else's.
    """

    def __init__(
        self, file: str | Path, overwrite: bool = False, title: str = "What the model looks at"
    ) -> None:
        self.file = place_of(file, "html")
        self._title = title
        self._parts: list[PagePart] = []
        self._skipped: dict[str, str] = {}
        check_writable(self.file.parent, "html")
        if self.file.exists() and not self.file.is_file():
            kind = "a folder" if self.file.is_dir() else "no file that can be replaced"
            raise FolderError(
                printable(f"html: {self.file} is {kind}; name a file, such as report.html")
            )
        if not overwrite and os.path.lexists(self.file) and not _is_own(self.file):
            raise FolderError(
                printable(f"html: {self.file} was not created by torchattr, so it is not replaced"),
                hint=Hint(ways_out=[WayOut("choose another name"), OVERWRITE]),
            )

    def add(self, entry: Entry) -> list[Path]:
        """Take an entry; its files come when the page is written."""
        self._parts.append(part_of(entry))
        return []

    def skip(self, source: str, reason: str) -> None:
        self._skipped[source] = reason

    def close(self) -> list[Path]:
        """Write the page, if there is anything to show."""
        if not self._parts and not self._skipped:
            return []
        text = page(escape(self._title), self._parts, self._skipped)
        content = printable(text, keep="\n").encode()
        folder = self.file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(cannot_write(folder, "html", error)) from error
        with locked(folder, "html"):
            return [write_whole(self.file, content, "html")]


def _is_own(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return GENERATOR.encode() in stream.read(1000)
    except OSError as error:
        raise FolderError(f"html: {file} cannot be read ({error.strerror or error})") from error
