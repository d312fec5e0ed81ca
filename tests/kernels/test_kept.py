"""Where compiled code is kept, and that nothing else is loaded from there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import noise

import torchattr as ta
from torchattr.core import cache_dir as kept
from torchattr.core.cache_dir import cache_folder, put_in_place, read_whole
from torchattr.kernels import Request
from torchattr.kernels.cpu import backend as cpu_backend
from torchattr.kernels.cpu import compile as cpu_compile
from torchattr.kernels.cpu.backend import CpuBackend

REQUEST = Request(torch.device("cpu"), torch.float32)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="owners and modes of Unix")


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Forget what is loaded; keep what will be in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # A path that was loaded before gives what was loaded then, whatever is there now.
    made = (
        cpu_compile.library,
        cpu_backend._missing,
        cpu_backend._has,
        kept._private_folder,
    )
    for one in made:
        one.cache_clear()
    yield tmp_path
    for one in made:
        one.cache_clear()


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_the_folder_is_the_users_own(anew: Path) -> None:
    assert cache_folder() == anew / "cache" / "torchattr" / "kernels"
    assert mode(cache_folder()) == mode(cache_folder().parent) == 0o700
    cache_folder().chmod(0o755)
    assert mode(cache_folder()) == 0o700


@pytest.mark.parametrize("kind", ["relative", "writable", "of another", "a file", "nowhere"])
def test_any_other_is_replaced_by_a_private_one(
    kind: str, anew: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = anew / "cache" / "torchattr" / "kernels"
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
        with pytest.raises(OSError, match="not what was written"):
            read_whole(place)


def test_a_damaged_library_is_compiled_anew(anew: Path) -> None:
    assert not CpuBackend().refusals(REQUEST)
    (place,) = cache_folder().iterdir()
    whole = place.read_bytes()
    # Another file, since this process has the first one mapped.
    for damaged in (whole[:4096], b"", whole[: len(whole) // 2] + b"\0" * 99, b"junk"):
        place.unlink()
        place.write_bytes(damaged)
        cpu_compile.library.cache_clear()
        cpu_backend._missing.cache_clear()
        assert not CpuBackend().refusals(REQUEST)
        assert read_whole(place)


COMPILERS = {
    "writes nothing": "exit 0",
    "writes an empty file": ': > "$out"',
    "writes junk": 'echo junk > "$out"',
    "leaves out the symbols": "echo 'int x;' | cc -shared -fPIC -x c - -o \"$out\"",
    "needs what is not there": (
        "echo 'int no_such(); int torchattr_x() { return no_such(); }'"
        ' | cc -shared -fPIC -x c - -Wl,-z,now -o "$out"'
    ),
    "is killed": "kill -9 $$",
}


@pytest.mark.parametrize("name", COMPILERS)
def test_a_library_that_does_not_load_leaves_the_work_to_the_reference(
    name: str, anew: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = anew / "compiler"
    lines = ["#!/bin/sh", 'for last; do out="$last"; done', COMPILERS[name], ""]
    script.write_text("\n".join(lines))
    script.chmod(0o700)
    monkeypatch.setenv("CXX", str(script))
    (reason,) = CpuBackend().refusals(REQUEST)
    assert "cannot be loaded" in reason or "fails" in reason
    x = noise(1, 3, 8, 8, dtype=torch.float32)
    method = ta.GuidedBackprop(lambda x: x.relu().flatten(1))
    only = torch.zeros(192).index_fill(0, torch.tensor(1), 1.0).reshape(x.shape)
    assert torch.equal(method.attribute(x, target=1), only * (x > 0))
    occlusion = ta.Occlusion(lambda x: x.relu().flatten(1))
    with_any = occlusion.attribute(x, (3, 2, 2), target=1, incremental=True)
    assert with_any.shape == x.shape
    assert not list(kept.cache_folder().glob("*.so"))


def test_a_folder_that_nothing_can_be_loaded_from(
    anew: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> None:
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(cpu_compile.ctypes, "CDLL", refused)
    (reason,) = CpuBackend().refusals(REQUEST)
    assert "cannot be loaded: " in reason
    assert "failed to map" in reason
    assert ta.GuidedBackprop(lambda x: x.relu()).attribute(noise(2, 3), target=1).shape == (2, 3)
