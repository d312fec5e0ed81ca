"""The manifest of a folder of results: which files are a run's own, and what each of them shows."""

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

    files: its files, below the folder.
    text: all that is said of it, as JSON, so that a long manifest is not made anew each time.
    """

    files: tuple[str, ...]
    text: str

    @classmethod
    def of(cls, files: Iterable[str], record: Mapping[str, Any]) -> ManifestEntry:
        names = tuple(files)
        said = {key: value for key, value in record.items() if key != "files"}
        return cls(names, _json({"files": list(names), **said}))


@dataclass
class Manifest:
    """What is known of a folder.

    pictures: the entries by name; all their files are there.
    skipped: the reason of each picture that could not be read, by its path.
    finished: for each picture that is done, by the digest of all that its results depend on, its
        files and their sizes.
    leftovers: further files of runs, which belong to no whole entry.
    """

    pictures: dict[str, ManifestEntry] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    finished: dict[str, Sizes] = field(default_factory=dict)
    leftovers: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest; where there is none, nothing is known.

        Raises:
            FolderError: the file is no manifest, or cannot be read.
        """
        if path.is_symlink() and not path.exists():
            raise _refusal(path, "is a link to nothing", "remove the link")
        if not path.exists():
            return cls()
        if not path.is_file():
            raise _refusal(path, "is no file", "remove it")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise _refusal(path, f"cannot be read ({error.strerror or error})") from error
        except (ValueError, RecursionError) as error:
            raise _foreign(path, "it is no JSON") from error
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
            raise _foreign(path, "entries of it are missing or damaged")
        read = {name: ManifestEntry.of(one["files"], one) for name, one in pictures.items()}
        return cls(read, skipped, finished, set(leftovers))

    @property
    def own(self) -> set[str]:
        """The files that runs wrote."""
        return {file for one in self.pictures.values() for file in one.files} | self.leftovers

    def add(self, path: str, entry: ManifestEntry) -> None:
        """Take an entry, whose files are no others' from now on."""
        former = self.pictures.get(path)
        # Written over in its place, so that a rerun keeps the order.
        self.pictures[path] = ManifestEntry((), "")
        self.doubt({*entry.files, *(former.files if former else ())})
        self.leftovers -= set(entry.files)
        self.pictures[path] = entry

    def doubt(self, files: Iterable[str]) -> None:
        """Remember files as a run's own whose contents are no longer those of their entries."""
        changed = set(files)
        for path in [p for p, one in self.pictures.items() if changed & set(one.files)]:
            self.leftovers |= set(self.pictures.pop(path).files)
        self.leftovers |= changed
        self.finished = {
            key: sizes for key, sizes in self.finished.items() if not changed & set(sizes)
        }

    def without_missing(self, folder: Path) -> Manifest:
        """Return the manifest of the entries whose files are all there."""
        there = {file for file in self.own if (folder / file).is_file()}
        kept = {path: one for path, one in self.pictures.items() if there.issuperset(one.files)}
        left = there - {file for one in kept.values() for file in one.files}
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
        # JSON writes a byte that is no text as Python does: as an escape.
        return f"{{\n{lines}\n}}\n".encode("utf-8", "backslashreplace")


_INSET = " " * 4


def _json(value: Any) -> str:
    """Write a value that stands two levels deep."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return indent(text, _INSET).lstrip()


def _object(parts: Mapping[str, str]) -> str:
    """Join values that are JSON already."""
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
