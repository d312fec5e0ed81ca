"""Results as TensorBoard images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from torchattr.core.printable import printable
from torchattr.errors import FolderError, PackageError
from torchattr.results.files import as_destination, cannot_write, check_writable
from torchattr.results.sink import Entry, Sink


class TensorBoard(Sink):
    """Writes the picture of each entry and the single pictures of grids; steps are image indices.

    A grid has the tag `activations features.3/grid`; each of its maps is drawn by itself as
    `.../0012` and so on, by the same code. So TensorBoard's *Images* tab shows one section per
    layer and a slider over the images. Texts, such as the file of each step, go to the *Text* tab.
    Show them with `tensorboard --logdir LOGDIR`.

    Every run adds a new file; no file is ever replaced.

    Args:
        logdir: the folder of the log; created with the first entry.

    Raises:
        PackageError: TensorBoard is not installed.
        FolderError: `logdir` cannot be written to.
    """

    def __init__(self, logdir: str | Path) -> None:
        self.logdir = as_destination(logdir, "logdir")
        self._make = _summary_writer()
        check_writable(self.logdir, "logdir")
        self._writer: Any = None
        self._skipped = 0

    def add(self, entry: Entry) -> list[Path]:
        section = entry.group.replace("/", " ") or "explanations"
        if entry.picture is not None:
            self._image(f"{section}/{'grid' if entry.group else 'panel'}", entry.picture, entry)
        for name, picture in entry.singles():
            self._image(f"{section}/{name}", picture, entry)
        said = {"name": entry.name, **entry.record}
        text = entry.text or json.dumps(said, indent=2, ensure_ascii=False)
        self._text(f"{section}/record", text, entry.index)
        return []

    def skip(self, source: str, reason: str) -> None:
        self._text("skipped", f"{source}: {reason}", self._skipped)
        self._skipped += 1

    def close(self) -> list[Path]:
        """Close the log and return no files: they exist since the first entry."""
        if self._writer is not None:
            self._guarded(lambda writer: writer.close())
        return []

    def _image(self, tag: str, picture: Any, entry: Entry) -> None:
        pixels = np.asarray(picture)
        self._guarded(lambda to: to.add_image(tag, pixels, entry.index, dataformats="HWC"))

    def _text(self, tag: str, text: str, step: int) -> None:
        # Markdown shows indented text verbatim.
        indented = "\n".join(f"    {line}" for line in printable(text, keep="\n").splitlines())
        self._guarded(lambda writer: writer.add_text(tag, indented, step))

    def _guarded(self, write: Any) -> None:
        try:
            if self._writer is None:
                self._writer = self._make(str(self.logdir))
            write(self._writer)
        except OSError as error:
            raise FolderError(cannot_write(self.logdir, "logdir", error)) from error


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise PackageError(
            f"logdir needs TensorBoard, which could not be imported ({error}); install it with:"
            " pip install tensorboard"
        ) from error
    return SummaryWriter
