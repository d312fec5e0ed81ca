"""A folder of results: each file is whole or absent, and a manifest says which are its own."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchattr.errors import FolderError
from torchattr.runs.files import check_writable, write_whole
from torchattr.runs.sink import Entry, Sink

FORMAT = "torchattr run 1"
MANIFEST = "manifest.json"
SUFFIXES = (".png", ".npz", ".txt")


class RunFolder(Sink):
    """Writes entries as files, and the manifest at the end.

    An entry `cat` of the group `activations/features.3` becomes `activations/features.3/cat.png`
    (what there is to see), `.npz` (its arrays) and `.txt` (what there is to read). What a former
    run wrote (its manifest lists it) is replaced; any other file stays as it is.

    Args:
        out: the folder; made when the first file is written.
        overwrite: also replace files of the same names that no manifest lists.

    Raises:
        FolderError: `out` is or lies below a file, or may not be written to.
    """

    def __init__(self, out: str | Path, overwrite: bool = False) -> None:
        self.out = Path(out).expanduser()
        self._overwrite = overwrite
        check_writable(self.out, "out")
        self._pictures, self._manifest_is_foreign = _read_manifest(self.out / MANIFEST)
        self._skipped: dict[str, str] = {}
        self._has_news = False

    @property
    def manifest(self) -> Path:
        return self.out / MANIFEST

    def claim(self, paths: Sequence[str]) -> None:
        for folder in {(self.out / path).parent for path in paths}:
            check_writable(folder, "out")
        own = {file for entry in self._pictures.values() for file in entry.get("files", ())}
        wanted = [f"{path}{suffix}" for path in paths for suffix in SUFFIXES]
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
        self._pictures[entry.path] = {"files": list(made), **entry.record}
        return written

    def skip(self, source: str, reason: str) -> None:
        self._has_news = True
        self._skipped[source] = reason

    def close(self) -> list[Path]:
        return [self.write_manifest()] if self._has_news else []

    def write_manifest(self) -> Path:
        """Write what the manifest says now."""
        self._has_news = False
        content = {"format": FORMAT, "pictures": self._pictures, "skipped": self._skipped}
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        return self._write(MANIFEST, text.encode())

    def _write(self, file: str, content: bytes) -> Path:
        return write_whole(self.out / file, content, "out")


def _files(entry: Entry) -> dict[str, bytes]:
    files = {}
    if entry.picture is not None:
        picture = io.BytesIO()
        entry.picture.save(picture, "PNG")
        files[f"{entry.path}.png"] = picture.getvalue()
    if entry.arrays:
        arrays = io.BytesIO()
        # The stubs take every keyword for the option `allow_pickle`.
        np.savez(arrays, **entry.arrays)  # type: ignore[arg-type]
        files[f"{entry.path}.npz"] = arrays.getvalue()
    if entry.text:
        files[f"{entry.path}.txt"] = f"{entry.text}\n".encode()
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
