"""The CPU kernels, compiled once by the machine's own C++ compiler and kept on disk.

Each source in `csrc/` becomes a library of its own when it is first needed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
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
PATIENCE = 300

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
"""What the functions of each source take; they give nothing or an `int`."""


@cache
def library(name: str) -> ctypes.CDLL:
    """Give the kernels of a source, compiled now if they were not before on this machine.

    Raises:
        BackendError: there is no compiler, or it fails, or what it makes cannot be loaded; the
            message says why.
    """
    if sys.platform != "linux":
        raise BackendError(f"its kernels are compiled on Linux only, not on {sys.platform}")
    file = f"{name}-{_key(name)}.so"
    with suppress(OSError, AttributeError):
        return _kept(name, cache_folder() / file)
    with suppress(OSError, AttributeError):
        return _compiled(name, cache_folder() / file)
    # A cache that cannot be written to, or that nothing can be loaded from, costs a compilation in
    # each process, not more.
    try:
        return _compiled(name, private_folder() / file)
    except (OSError, AttributeError) as error:
        raise BackendError(f"its compiled kernels cannot be loaded: {error}") from error


def _kept(name: str, place: Path) -> ctypes.CDLL:
    read_whole(place)
    return _declared(name, place)


def _compiled(name: str, place: Path) -> ctypes.CDLL:
    """Compile a source; only what can be loaded is kept."""
    with put_in_place(place) as part:
        _run_compiler(SOURCES / f"{name}.cpp", part)
        return _declared(name, part)


def _run_compiler(source: Path, output: Path) -> None:
    command = [_compiler(), *OPTIONS, str(source), "-o", str(output)]
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


def _declared(name: str, place: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(place))
    for function, takes in _FUNCTIONS[name].items():
        getattr(loaded, f"torchattr_{function}").argtypes = takes
    return loaded


def _key(name: str) -> str:
    """Tell one machine's build from another's: sources, options, and what the processor can do."""
    sources = [SOURCES / f"{name}.cpp", *sorted(SOURCES.glob("*.h"))]
    texts = [source.read_text() for source in sources]
    text = "\n".join([*texts, *OPTIONS, platform.machine(), _processor()])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _processor() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""
