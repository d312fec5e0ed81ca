"""Compiles the CPU kernels once with the machine's C++ compiler and caches them on disk.

Each source in `csrc/` becomes a shared library of its own when it is first needed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from torchattr.core.cache_dir import cache_folder, private_folder, put_in_place, read_whole
from torchattr.errors import BackendError

SOURCES = Path(__file__).with_name("csrc")
OPTIONS = (
    "-O3",
    "-std=c++17",
    "-fPIC",
    "-shared",
    "-fopenmp",
    "-march=native",
    "-ffp-contract=fast",
)
TIMEOUT = 300
"""Seconds after which a compilation is abandoned."""

_POINTER, _SIZE, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float
_VIEWS = [_POINTER, _POINTER]
_FUNCTIONS = {
    "rectifier": {
        "rectify": [_POINTER, _POINTER, _POINTER, _SIZE, _FLOAT, _INT],
        "gate": [*[_POINTER] * 3, _SIZE, _INT, _POINTER, _SIZE, _SIZE, _INT],
    },
    "max_pool": {
        "max_pool": [*[_POINTER] * 4, _INT, _INT],
        "unpool": [*[_POINTER] * 4, *[_INT] * 5],
    },
    "patches": {
        "lanes": [],
        "gather": [*_VIEWS, _INT],
        "convolve": [*_VIEWS, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER, _INT],
        "depthwise": [*_VIEWS, _POINTER, _POINTER, _POINTER, _INT],
        "pack_winograd": [_POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _INT],
        "pack_product": [_POINTER, _POINTER, *[_SIZE] * 4, _POINTER, _INT],
        "winograd": [*_VIEWS, _POINTER, _SIZE, _POINTER, _POINTER, _SIZE, _INT],
        "pool": [*_VIEWS, _POINTER, _INT, _INT, _SIZE, _INT],
    },
}
"""Argument types of the functions of each source; they return nothing or an `int`."""


@cache
def shared_library(name: str) -> ctypes.CDLL:
    """Return the shared library of a source, compiled now unless this machine has it cached.

    Raises:
        BackendError: there is no compiler, or it fails, or its output cannot be loaded; the
            message says why.
    """
    if sys.platform != "linux":
        raise BackendError(f"its kernels are compiled on Linux only, not on {sys.platform}")
    file = f"{name}-{_key(name)}.so"
    with suppress(OSError, AttributeError):
        return _cached(name, cache_folder() / file)
    with suppress(OSError, AttributeError):
        return _compiled(name, cache_folder() / file)
    # A cache that cannot be written to or loaded from costs one compilation in each process.
    try:
        return _compiled(name, private_folder() / file)
    except (OSError, AttributeError) as error:
        raise BackendError(f"its compiled kernels cannot be loaded: {error}") from error


@cache
def compiles(source: str, operations: str) -> bool:
    """Whether a source compiles; if not, warn once that the reference serves its operations."""
    try:
        shared_library(source)
    except BackendError as error:
        warnings.warn(f"{operations} are left to the backend 'torch': {error}", stacklevel=2)
        return False
    return True


def _cached(name: str, path: Path) -> ctypes.CDLL:
    read_whole(path)
    return _loaded(name, path)


def _compiled(name: str, path: Path) -> ctypes.CDLL:
    """Compile a source; only a library that loads stays on disk."""
    with put_in_place(path) as partial:
        _run_compiler(SOURCES / f"{name}.cpp", partial)
        return _loaded(name, partial)


def _run_compiler(source: Path, output: Path) -> None:
    command = [_compiler(), *OPTIONS, str(source), "-o", str(output)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"the C++ compiler {command[0]} does not run: {error}") from error
    if done.returncode:
        message = (done.stderr.strip() or "no output").splitlines()[0]
        raise BackendError(f"the C++ compiler {command[0]} fails: {message}")


def _compiler() -> str:
    requested = os.environ.get("CXX")
    names = [requested] if requested else ["c++", "g++", "clang++"]
    installed = [path for path in map(shutil.which, names) if path]
    if not installed:
        raise BackendError(
            f"it needs a C++ compiler, but {' or '.join(names)} was not found; install one, or set"
            " the environment variable CXX to it"
        )
    return installed[0]


def _loaded(name: str, path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for function, types in _FUNCTIONS[name].items():
        getattr(library, f"torchattr_{function}").argtypes = types
    return library


def _key(name: str) -> str:
    """Return a key of everything a build depends on: sources, options, and processor features."""
    sources = [SOURCES / f"{name}.cpp", *sorted(SOURCES.glob("*.h"))]
    texts = [source.read_text() for source in sources]
    text = "\n".join([*texts, *OPTIONS, platform.machine(), _processor()])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _processor() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""
