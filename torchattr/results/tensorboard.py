"""Results as images of TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from torchattr.core.printable import printable
from torchattr.errors import FolderError, PackageError
from torchattr.results.files import cannot_write, check_writable, place_of
from torchattr.results.sink import Entry, Sink


class TensorBoard(Sink):
    """Writes each entry's picture, and the single ones of a grid; the step is the image's index.

    A grid has the tag `activations features.3/grid`, its single pictures `.../12` and so on, so
    that TensorBoard's *Images* tab shows one section for each layer and a slider over the images.
    What is read rather than seen, such as which file a step is, goes to the *Text* tab. Show them
    with `tensorboard --logdir LOGDIR`.

    Every run adds a file of its own; no file is ever replaced.

    Args:
        logdir: the folder of the log; made when the first entry comes.

    Raises:
        PackageError: TensorBoard is not installed.
        FolderError: `logdir` cannot be written to.
    """

    def __init__(self, logdir: str | Path) -> None:
        self.logdir = place_of(logdir, "logdir")
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
        """Finish the log; its files stand in the folder from the first entry on."""
        if self._writer is not None:
            self._guarded(lambda writer: writer.close())
        return []

    def _image(self, tag: str, picture: Any, entry: Entry) -> None:
        pixels = np.asarray(picture)
        self._guarded(lambda to: to.add_image(tag, pixels, entry.index, dataformats="HWC"))

    def _text(self, tag: str, text: str, step: int) -> None:
        # Markdown shows what is indented as it is.
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
