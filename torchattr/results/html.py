"""Results as a self-contained HTML page."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from torchattr.core.printable import printable
from torchattr.errors import FolderError, Hint, WayOut
from torchattr.results.files import (
    OVERWRITE,
    as_destination,
    cannot_write,
    check_writable,
    write_whole,
)
from torchattr.results.html_page import GENERATOR, PagePart, page, part_of
from torchattr.results.locks import locked
from torchattr.results.sink import Entry, Sink
from torchattr.show import ThemeName, checked_theme


class Report(Sink):
    """Collects entries and writes them as one page, which works offline and runs no scripts.

    One section per picture, with a table of contents; images are embedded. A page of an earlier
    run is replaced; any other file is left alone.

    Args:
        file: the path of the page, such as `report.html`.
        overwrite: also replace a file that was not created by torchattr.
        title: the page title.
        theme: its colours, `"light"` or `"dark"`; by default those of the reader's system.

    Raises:
        FolderError: the file cannot be written, or was not created by torchattr.
        InputError: an unknown theme.
    """

    def __init__(
        self,
        file: str | Path,
        overwrite: bool = False,
        title: str = "torchattr report",
        theme: str | None = None,
    ) -> None:
        self.file = as_destination(file, "html")
        self._title = title
        self._theme: ThemeName | None = None if theme is None else checked_theme(theme)
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
        """Add an entry; nothing is written before :meth:`close`."""
        self._parts.append(part_of(entry))
        return []

    def skip(self, source: str, reason: str) -> None:
        self._skipped[source] = reason

    def close(self) -> list[Path]:
        """Write the page, if it has any entries."""
        if not self._parts and not self._skipped:
            return []
        text = page(escape(self._title), self._parts, self._skipped, self._theme)
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
