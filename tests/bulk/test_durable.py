import errno
import os
from pathlib import Path

import pytest

from torchattr.bulk.durable import remove_parts, write_durably
from torchattr.errors import FolderError


def test_a_file_is_written_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_durably(tmp_path / "c" / "0", b"first")
    write_durably(tmp_path / "c" / "0", b"second")
    assert (tmp_path / "c" / "0").read_bytes() == b"second"
    assert os.listdir(tmp_path / "c") == ["0"]


def test_it_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch) -> None:
    steps: list[str] = []
    flush, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append("flush") or flush(handle))
    monkeypatch.setattr(os, "replace", lambda *names: steps.append("name") or replace(*names))
    write_durably(tmp_path / "0", b"content")
    assert steps == ["flush", "name", "flush"]


def test_a_full_disk_is_a_sentence_and_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    write_durably(tmp_path / "0", b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FolderError, match="free some space and run the same again"):
        write_durably(tmp_path / "0", b"new")
    assert (tmp_path / "0").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["0"]


def test_a_file_in_place_of_the_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("")
    with pytest.raises(FolderError, match="cannot write to"):
        write_durably(tmp_path / "c" / "0", b"content")


def test_what_killed_processes_left_is_removed_later(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in (".0.abc.part", ".1.abc.part", "0"):
        (tmp_path / "c" / name).write_text("half")
    os.utime(tmp_path / "c" / ".0.abc.part", (0, 0))
    remove_parts(tmp_path, age=60)
    assert sorted(os.listdir(tmp_path / "c")) == [".1.abc.part", "0"]
