"""A folder of results: files are complete or absent, and a manifest lists those of torchattr."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from torchattr.core.printable import printable
from torchattr.errors import FolderError, Hint, WayOut
from torchattr.results.files import (
    OVERWRITE,
    as_destination,
    cannot_write,
    check_writable,
    forget_moving,
    moving,
    remove_parts,
    write_all,
)
from torchattr.results.locks import locked
from torchattr.results.manifest import FORMAT as FORMAT
from torchattr.results.manifest import MANIFEST, Manifest, ManifestEntry, Sizes
from torchattr.results.sink import Entry, Sink
from torchattr.show import FORMATS, Format, checked_dpi, checked_format

_DATA = (".npz", ".txt")
SUFFIXES = (*(f".{form}" for form in FORMATS), *_DATA)


class RunFolder(Sink):
    """Writes entries as files, and after each of them the manifest.

    An entry `cat` of the group `activations/features.3` becomes `activations/features.3/cat.png`
    (the picture, or in other formats), `.npz` (the arrays) and `.txt` (the text, if any). Files of
    earlier runs, which the manifest lists, are replaced; any other file is left alone.

    The files of an entry and the manifest are replaced together, while the folder is locked:
    concurrent runs keep each other's entries, and of two entries with the same name the later one
    wins. A rerun of a killed run resumes where that stopped.

    Args:
        out: the folder; created with the first file.
        overwrite: also replace files of the same names that no manifest lists, and redo finished
            pictures.
        formats: of the pictures: `"png"`, `"pdf"`, `"svg"`.
        dpi: see :meth:`torchattr.show.Drawing.encoded`.

    Raises:
        FolderError: `out` is or lies below a file, is not writable, or holds an invalid manifest.
    """

    def __init__(
        self,
        out: str | Path,
        overwrite: bool = False,
        formats: Sequence[Format] = ("png",),
        dpi: float | None = None,
    ) -> None:
        self.out = as_destination(out, "out")
        checked: list[Format] = [checked_format(one) for one in formats]
        self._formats: tuple[Format, ...] = tuple(dict.fromkeys(checked))
        self._dpi = checked_dpi(dpi)
        self._overwrite = overwrite
        self._manifest = Manifest()
        self._version: tuple[int, ...] | None = None
        self._unfinished: dict[str, tuple[ManifestEntry, Sizes]] = {}
        self._has_written = False
        check_writable(self.out, "out")
        with self._locked():
            self._recover()

    @property
    def manifest(self) -> Path:
        return self.out / MANIFEST

    def claim(self, paths: Sequence[str]) -> None:
        folders = {(self.out / path).parent for path in paths}
        for folder in folders:
            check_writable(folder, "out")
        with self._locked():
            self._recover()
            for folder in folders:
                remove_parts(folder)
            suffixes = (*(f".{form}" for form in self._formats), *_DATA)
            self._check_foreign([f"{path}{suffix}" for path in paths for suffix in suffixes])

    def add(self, entry: Entry) -> list[Path]:
        """Write the files of one entry; all are encoded before the first is written."""
        made = _files(entry, self._formats, self._dpi)
        recorded = ManifestEntry.of(made, entry.record)
        sizes = {file: len(content) for file, content in made.items()}
        with self._changed() as manifest:
            manifest.add(entry.path, recorded)
            manifest.skipped.pop(str(entry.record.get("source", "")), None)
            stale = {f"{entry.path}{suffix}" for suffix in SUFFIXES} & manifest.leftovers
            written = self._write({**made, MANIFEST: manifest.encoded()})
            for file in stale:
                # A file of the replaced entry that does not belong to the new one.
                with suppress(OSError):
                    (self.out / file).unlink(missing_ok=True)
            manifest.leftovers -= stale
        self._unfinished[entry.path] = recorded, sizes
        return written[:-1]

    def skip(self, source: str, reason: str) -> None:
        with self._changed() as manifest:
            manifest.skipped[source] = reason
            self._write({MANIFEST: manifest.encoded()})

    def has_finished(self, key: str) -> bool:
        sizes = None if self._overwrite else self._manifest.finished.get(self._key(key))
        return sizes is not None and all(
            _size(self.out / file) == size for file, size in sizes.items()
        )

    def finish(self, key: str) -> None:
        done, self._unfinished = self._unfinished, {}
        if not self._has_written:
            return
        with self._changed() as manifest:
            # If another run has replaced an entry since, this picture is not finished.
            if all(manifest.pictures.get(path) == one for path, (one, _) in done.items()):
                manifest.finished[self._key(key)] = {
                    file: size for _, sizes in done.values() for file, size in sizes.items()
                }
                self._write({MANIFEST: manifest.encoded()})

    def _key(self, key: str) -> str:
        """Return the digest of a picture together with what its files are written as."""
        formats = () if self._formats == ("png",) else self._formats
        return " ".join([key, *formats, *([] if self._dpi is None else [f"{self._dpi:g} dpi"])])

    def close(self) -> list[Path]:
        """Return the path of the manifest, if anything was written."""
        return [self.manifest] if self._has_written else []

    def write_manifest(self) -> Path:
        """Write the current manifest."""
        with self._changed() as manifest:
            (written,) = self._write({MANIFEST: manifest.encoded()})
        return written

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.out.is_dir():
            yield
            return
        with locked(self.out, "out"):
            yield

    @contextmanager
    def _changed(self) -> Iterator[Manifest]:
        """Lock the folder and yield its current manifest, to be changed and written."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(cannot_write(self.out, "out", error)) from error
        with self._locked():
            self._refresh()
            try:
                yield self._manifest
            except BaseException:
                # The manifest in memory may differ from that on disk: read it again.
                self._version = None
                raise

    def _write(self, contents: dict[str, bytes]) -> list[Path]:
        written = write_all(self.out, contents, "out")
        self._version = _version(self.manifest)
        self._has_written = True
        return written

    def _refresh(self) -> None:
        """Read the manifest, and disown what a killed run was moving, unless nothing has changed.

        Before each change, since a run that shares the folder may be killed at any time.
        """
        self._read_manifest()
        doubtful = set(moving(self.out)) - {MANIFEST}
        if doubtful:
            self._manifest.doubt(doubtful)
            self._manifest = self._manifest.without_missing(self.out)
            self._write({MANIFEST: self._manifest.encoded()})
            forget_moving(self.out)

    def _read_manifest(self) -> None:
        """Read the manifest if it has changed since it was last read or written."""
        version = _version(self.manifest)
        if version == self._version:
            return
        try:
            self._manifest = Manifest.read(self.manifest)
        except FolderError:
            if not self._overwrite or not self.manifest.is_file():
                raise
            self._manifest = Manifest()
        self._version = version

    def _recover(self) -> None:
        """Read the manifest, and drop the entries whose files were removed."""
        self._refresh()
        self._manifest = self._manifest.without_missing(self.out)

    def _check_foreign(self, wanted: Sequence[str]) -> None:
        own = self._manifest.own
        foreign = [file for file in wanted if file not in own and os.path.lexists(self.out / file)]
        others = [file for file in foreign if (self.out / file).exists()]
        others = [file for file in others if not (self.out / file).is_file()]
        if others:
            raise FolderError(
                printable(
                    f"out: {self.out} holds {others[0]}, which is not a file, where one is to be"
                    " written; choose another folder, or move it away"
                )
            )
        if foreign and not self._overwrite:
            raise FolderError(
                printable(
                    f"out: {self.out} holds {foreign[0]}, which was not created by torchattr, so"
                    " it is not replaced"
                ),
                hint=Hint(ways_out=[WayOut("choose another folder"), OVERWRITE]),
            )


def _files(entry: Entry, formats: Sequence[Format], dpi: float | None) -> dict[str, bytes]:
    files = {}
    if entry.drawing is not None:
        for form in formats:
            files[f"{entry.path}.{form}"] = entry.drawing.encoded(form, dpi)
    if entry.arrays:
        arrays = io.BytesIO()
        # The stubs take every keyword for the option `allow_pickle`.
        np.savez(arrays, **entry.arrays)  # type: ignore[arg-type]
        files[f"{entry.path}.npz"] = arrays.getvalue()
    if entry.text:
        files[f"{entry.path}.txt"] = f"{entry.text}\n".encode("utf-8", "backslashreplace")
    return files


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _version(path: Path) -> tuple[int, ...]:
    """Return what identifies a version of the manifest: each is a new file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size
