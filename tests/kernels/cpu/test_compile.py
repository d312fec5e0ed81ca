"""Compiling and caching the CPU kernels: damaged caches, failing compilers, unusable folders."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import noise

import torchattr as ta
from torchattr.core import cache_dir
from torchattr.core.cache_dir import cache_folder, read_whole
from torchattr.kernels import Request
from torchattr.kernels.cpu import backend as cpu_backend
from torchattr.kernels.cpu import compile as cpu_compile
from torchattr.kernels.cpu.backend import CpuBackend

REQUEST = Request(torch.device("cpu"), torch.float32)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="owners and modes of Unix")


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Forget the loaded libraries, and cache the next ones in a new folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Loading a path a second time returns the first library, whatever the file holds now.
    caches = (
        cpu_compile.shared_library,
        cpu_backend._missing,
        cpu_compile.compiles,
        cache_dir._private_folder,
    )
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


def test_a_damaged_library_is_compiled_anew(anew: Path) -> None:
    assert not CpuBackend().refusals(REQUEST)
    (place,) = cache_folder().iterdir()
    whole = place.read_bytes()
    # Another file, since this process has the first one mapped.
    for damaged in (whole[:4096], b"", whole[: len(whole) // 2] + b"\0" * 99, b"junk"):
        place.unlink()
        place.write_bytes(damaged)
        cpu_compile.shared_library.cache_clear()
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
    assert not list(cache_dir.cache_folder().glob("*.so"))


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


def test_a_build_is_cached_under_a_key_of_all_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "csrc"
    shutil.copytree(cpu_compile.SOURCES, copy)
    before = cpu_compile._key("patches")
    monkeypatch.setattr(cpu_compile, "SOURCES", copy)
    assert cpu_compile._key("patches") == before
    for name in ("patches.cpp", "winograd.h"):
        with (copy / name).open("a") as file:
            file.write("// another line\n")
        assert cpu_compile._key("patches") != before
        before = cpu_compile._key("patches")
    assert cpu_compile._key("rectifier") != before
