"""The CPU kernels, compiled once by the machine's own C++ compiler and kept on disk."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from torchattr.errors import BackendError
from torchattr.kernels.cuda_compile import cache_folder

SOURCE = Path(__file__).with_name("csrc") / "rectifier.cpp"
OPTIONS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-fopenmp", "-march=native")
PATIENCE = 120


@cache
def library() -> ctypes.CDLL:
    """Give the kernels, compiled now if they were not before on this machine.

    Raises:
        BackendError: there is no compiler, or it fails; the message says why.
    """
    if sys.platform != "linux":
        raise BackendError(f"its kernels are compiled on Linux only, not on {sys.platform}")
    place = cache_folder() / f"rectifier-{_key()}.so"
    with suppress(OSError):
        return _declared(ctypes.CDLL(str(place)))
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        return _compiled(place)
    # A cache that cannot be written to costs a compilation in each process, not more.
    return _compiled(Path(tempfile.mkdtemp(prefix="torchattr-"), place.name))


def _compiled(place: Path) -> ctypes.CDLL:
    """Compile beside `place` and move it there, so that no other process loads a part."""
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        _run_compiler(part)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
    return _declared(ctypes.CDLL(str(place)))


def _run_compiler(output: Path) -> None:
    command = [_compiler(), *OPTIONS, str(SOURCE), "-o", str(output)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"the C++ compiler {command[0]} does not run: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or "it says nothing").splitlines()[0]
        raise BackendError(f"the C++ compiler {command[0]} fails: {said}")


def _compiler() -> str:
    asked = os.environ.get("CXX")
    wanted = [asked] if asked else ["c++", "g++", "clang++"]
    found = [path for path in map(shutil.which, wanted) if path]
    if not found:
        raise BackendError(
            f"it needs a C++ compiler, and there is no {' or '.join(wanted)}; install one, or name"
            " it in the environment variable CXX"
        )
    return found[0]


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    rectify, gate = loaded.torchattr_rectify, loaded.torchattr_gate
    rectify.argtypes = [pointer, pointer, pointer, size, ctypes.c_float, ctypes.c_int]
    gate.argtypes = [pointer, pointer, pointer, size, ctypes.c_int, pointer, size, size]
    gate.argtypes += [ctypes.c_int]
    rectify.restype = gate.restype = None
    return loaded


def _key() -> str:
    """Tell one machine's build from another's: sources, options, and what the processor can do."""
    text = "\n".join([SOURCE.read_text(), *OPTIONS, platform.machine(), _processor()])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _processor() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""
