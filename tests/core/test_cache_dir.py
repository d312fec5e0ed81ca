"""The cache of compiled code and measurements: its folder, and that damaged files are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchattr.core import cache_dir
from torchattr.core.cache_dir import cache_folder, put_in_place, read_whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="owners and modes of Unix")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, new; a private folder made before is forgotten."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache_dir._private_folder.cache_clear()
    yield tmp_path
    cache_dir._private_folder.cache_clear()


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_the_folder_is_the_users_own(home: Path) -> None:
    assert cache_folder() == home / "cache" / "torchattr" / "kernels"
    assert mode(cache_folder()) == mode(cache_folder().parent) == 0o700
    cache_folder().chmod(0o755)
    assert mode(cache_folder()) == 0o700


@pytest.mark.parametrize("kind", ["relative", "writable", "of another", "a file", "nowhere"])
def test_any_other_is_replaced_by_a_private_one(
    kind: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "cache" / "torchattr" / "kernels"
    if kind == "relative":
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
        monkeypatch.setenv("HOME", "relative")
    elif kind == "writable":
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    elif kind == "of another":
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    elif kind == "a file":
        folder.parent.mkdir(parents=True)
        folder.write_text("")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    found = cache_folder()
    assert found.is_absolute()
    assert found.name.startswith("torchattr-")
    assert mode(found) == 0o700
    assert cache_folder() == found


def test_a_private_folder_is_removed_at_exit(tmp_path: Path) -> None:
    code = "from torchattr.core.cache_dir import cache_folder; print(cache_folder())"
    environment = {**os.environ, "XDG_CACHE_HOME": "cache", "HOME": "x", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_only_what_was_written_is_read(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    with put_in_place(place) as part:
        part.write_bytes(b"as it was")
    assert read_whole(place) == b"as it was"
    whole = place.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", b"x" + whole[1:], whole + b"x", b"x" * 100):
        place.write_bytes(damaged)
        with pytest.raises(OSError, match="is damaged"):
            read_whole(place)
