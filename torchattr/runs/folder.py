"""A folder of results: each file is whole or absent, and a manifest says which are its own."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from torchattr.errors import FolderError

FORMAT = "torchattr run 1"
MANIFEST = "manifest.json"


@dataclass(frozen=True, eq=False)
class Entry:
    """What is kept of one example.

    name: what its files are called.
    panel: the explained picture, if there is something to draw.
    arrays: raw maps and scores by name.
    record: what the manifest says of it, as plain data.
    """

    name: str
    panel: Image.Image | None
    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any] = field(default_factory=dict)


class RunFolder:
    """Writes entries into a folder, and the manifest when its `with` block ends, however it ends.

    A file is written beside its place and then moved there, so none is ever half-written. What a
    former run wrote (its manifest lists it) is replaced; any other file stays as it is.

    Args:
        out: the folder; made when the first file is written.
        overwrite: also replace files of the same names that no manifest lists.

    Raises:
        FolderError: `out` is or lies below a file, or may not be written to.
    """

    def __init__(self, out: str | Path, overwrite: bool = False) -> None:
        self.out = Path(out).expanduser()
        self._overwrite = overwrite
        _check_writable(self.out)
        self._pictures, self._manifest_is_foreign = _read_manifest(self.out / MANIFEST)
        self._skipped: dict[str, str] = {}
        self._has_news = False

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._has_news:
            self.write_manifest()

    @property
    def manifest(self) -> Path:
        return self.out / MANIFEST

    def claim(self, names: Sequence[str]) -> None:
        """Make sure that entries of these names replace nothing that is not a run's own.

        Raises:
            FolderError: a file of the same name was written by someone else.
        """
        own = {file for entry in self._pictures.values() for file in entry.get("files", ())}
        wanted = [f"{name}{suffix}" for name in names for suffix in (".png", ".npz")]
        foreign = [file for file in wanted if file not in own and (self.out / file).exists()]
        if self._manifest_is_foreign:
            foreign.append(MANIFEST)
        if foreign and not self._overwrite:
            raise FolderError(
                f"out: {self.out} holds {foreign[0]}, which no former run wrote, so it is not"
                " replaced; give another folder, or allow it with --overwrite (overwrite=True)"
            )

    def add(self, entry: Entry) -> list[Path]:
        """Write the files of one entry; all are made before the first is written."""
        made = _files(entry)
        written = [self._write(file, content) for file, content in made.items()]
        self._has_news = True
        self._pictures[entry.name] = {"files": list(made), **entry.record}
        return written

    def skip(self, source: str, reason: str) -> None:
        """Note in the manifest that something could not be explained, and why."""
        self._has_news = True
        self._skipped[source] = reason

    def write_manifest(self) -> Path:
        """Write what the manifest says now."""
        self._has_news = False
        content = {"format": FORMAT, "pictures": self._pictures, "skipped": self._skipped}
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        return self._write(MANIFEST, text.encode())

    def _write(self, file: str, content: bytes) -> Path:
        path = self.out / file
        part = self.out / f".{file}.{os.getpid()}-{get_ident()}.part"
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(content)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise FolderError(_cannot_write(self.out, error.strerror or str(error))) from error
        return path


def _files(entry: Entry) -> dict[str, bytes]:
    files = {}
    if entry.panel is not None:
        picture = io.BytesIO()
        entry.panel.save(picture, "PNG")
        files[f"{entry.name}.png"] = picture.getvalue()
    arrays = io.BytesIO()
    # The stubs take every keyword for the option `allow_pickle`.
    np.savez(arrays, **entry.arrays)  # type: ignore[arg-type]
    files[f"{entry.name}.npz"] = arrays.getvalue()
    return files


def _read_manifest(path: Path) -> tuple[dict[str, dict[str, Any]], bool]:
    """The entries of a former run whose files are still there; and whether it is no run's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, False
    except (OSError, ValueError):
        return {}, True
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return {}, True
    pictures = content.get("pictures", {})
    return {
        name: entry
        for name, entry in pictures.items()
        if all((path.parent / file).is_file() for file in entry["files"])
    }, False


def _check_writable(out: Path) -> None:
    """Ask before anything is computed; nothing is made yet."""
    try:
        there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    except OSError as error:
        raise FolderError(_cannot_write(out, error.strerror or str(error))) from error
    if not there.is_dir():
        raise FolderError(_cannot_write(out, f"{there} is not a folder"))
    if not os.access(there, os.W_OK | os.X_OK):
        raise FolderError(_cannot_write(out, f"{there} may not be written to"))


def _cannot_write(out: Path, reason: str) -> str:
    return (
        f"out: nothing can be written to {out} ({reason}); give a folder that you may write to,"
        " or a new one"
    )
