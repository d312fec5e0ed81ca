"""The manifest of a folder of results: which files torchattr wrote, and what each of them shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Any

from torchattr.core.printable import printable
from torchattr.errors import FolderError, Hint, WayOut
from torchattr.results.files import OVERWRITE

FORMAT = "torchattr run 1"
MANIFEST = "manifest.json"
Sizes = dict[str, int]


@dataclass(frozen=True)
class ManifestEntry:
    """One entry.

    files: its files, relative to the folder.
    text: its record as JSON, kept so that a long manifest need not be encoded again each time.
    """

    files: tuple[str, ...]
    text: str

    @classmethod
    def of(cls, files: Iterable[str], record: Mapping[str, Any]) -> ManifestEntry:
        names = tuple(files)
        fields = {key: value for key, value in record.items() if key != "files"}
        return cls(names, _json({"files": list(names), **fields}))


@dataclass
class Manifest:
    """The content of a manifest.

    pictures: the entries by name; all their files exist.
    skipped: the paths of pictures that could not be read, each with the reason.
    finished: for each finished picture, by the digest of all that its results depend on, its
        files and their sizes.
    leftovers: further files of earlier runs, which belong to no complete entry.
    """

    pictures: dict[str, ManifestEntry] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    finished: dict[str, Sizes] = field(default_factory=dict)
    leftovers: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest; a missing file is an empty manifest.

        Raises:
            FolderError: the file is not a manifest, or cannot be read.
        """
        if path.is_symlink() and not path.exists():
            raise _refusal(path, "is a broken link", "remove the link")
        if not path.exists():
            return cls()
        if not path.is_file():
            raise _refusal(path, "is not a file", "remove it")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise _refusal(path, f"cannot be read ({error.strerror or error})") from error
        except (ValueError, RecursionError) as error:
            raise _foreign(path, "it is not JSON") from error
        return cls._of(content, path)

    @classmethod
    def _of(cls, content: Any, path: Path) -> Manifest:
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            version = content.get("format") if isinstance(content, dict) else None
            raise _foreign(path, f"its format is {version!r}, not {FORMAT!r}")
        pictures: Any = content.get("pictures")
        finished = content.get("finished", {})
        skipped, leftovers = content.get("skipped", {}), content.get("leftovers", [])
        whole = (
            _is_each(pictures, lambda one: isinstance(one, dict) and _is_names(one.get("files")))
            and _is_each(skipped, lambda one: isinstance(one, str))
            and _is_each(finished, _is_sizes)
            and _is_names(leftovers)
        )
        if not whole:
            raise _foreign(path, "some entries are missing or damaged")
        read = {name: ManifestEntry.of(one["files"], one) for name, one in pictures.items()}
        return cls(read, skipped, finished, set(leftovers))

    @property
    def own(self) -> set[str]:
        """The files that torchattr wrote."""
        return {file for one in self.pictures.values() for file in one.files} | self.leftovers

    def add(self, path: str, entry: ManifestEntry) -> None:
        """Add an entry; entries that listed any of its files are dropped."""
        former = self.pictures.get(path)
        # Assigned first, so that a rerun keeps the order.
        self.pictures[path] = ManifestEntry((), "")
        self.doubt({*entry.files, *(former.files if former else ())})
        self.leftovers -= set(entry.files)
        self.pictures[path] = entry

    def doubt(self, files: Iterable[str]) -> None:
        """Drop the entries of changed files, and keep the files as leftovers."""
        changed = set(files)
        for path in [p for p, one in self.pictures.items() if changed & set(one.files)]:
            self.leftovers |= set(self.pictures.pop(path).files)
        self.leftovers |= changed
        self.finished = {
            key: sizes for key, sizes in self.finished.items() if not changed & set(sizes)
        }

    def without_missing(self, folder: Path) -> Manifest:
        """Return the manifest with only the entries whose files all exist."""
        existing = {file for file in self.own if (folder / file).is_file()}
        kept = {
            path: entry for path, entry in self.pictures.items() if existing.issuperset(entry.files)
        }
        left = existing - {file for entry in kept.values() for file in entry.files}
        return Manifest(kept, dict(self.skipped), dict(self.finished), left)

    def encoded(self) -> bytes:
        """Return the file's content."""
        parts = {
            "format": _json(FORMAT),
            "pictures": _object({path: one.text for path, one in self.pictures.items()}),
            "skipped": _object({path: _json(one) for path, one in self.skipped.items()}),
            "finished": _object({key: json.dumps(one) for key, one in self.finished.items()}),
        }
        if self.leftovers:
            parts["leftovers"] = json.dumps(sorted(self.leftovers), ensure_ascii=False)
        lines = ",\n".join(f'  "{key}": {text}' for key, text in parts.items())
        # Bytes that are not UTF-8 are written as escapes, as in Python.
        return f"{{\n{lines}\n}}\n".encode("utf-8", "backslashreplace")


_INSET = " " * 4


def _json(value: Any) -> str:
    """Return a value as JSON, indented by two levels."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return indent(text, _INSET).lstrip()


def _object(parts: Mapping[str, str]) -> str:
    """Return an object of values that are already JSON."""
    if not parts:
        return "{}"
    lines = (f"{_INSET}{json.dumps(key, ensure_ascii=False)}: {one}" for key, one in parts.items())
    return "{\n" + ",\n".join(lines) + "\n  }"


def _is_each(value: Any, holds: Any) -> bool:
    return isinstance(value, dict) and all(map(holds, value.values()))


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_sizes(value: Any) -> bool:
    return _is_each(value, lambda size: isinstance(size, int))


def _foreign(path: Path, why: str) -> FolderError:
    return FolderError(
        printable(
            f"out: {path.parent} holds {path.name}, which was not created by torchattr ({why}), so"
            " it is not replaced"
        ),
        hint=Hint(ways_out=[WayOut("choose another folder"), OVERWRITE]),
    )


def _refusal(path: Path, why: str, way: str = "make it readable") -> FolderError:
    text = f"out: {path} {why}; {way}, or choose another folder for the results"
    return FolderError(printable(text))
