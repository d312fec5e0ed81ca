"""Compiles the CUDA kernels with NVRTC, which ships with PyTorch, and caches them on disk."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from torchattr.core.cache_dir import cache_folder, put_in_place, read_whole
from torchattr.errors import BackendError
from torchattr.kernels.cuda.launch import Kernel

SOURCES = Path(__file__).with_name("csrc")
OLDEST = 70
"""The oldest supported architecture, as in sm_70."""


@dataclass(frozen=True)
class Compiled:
    """Code for the driver to load, and the compiler's log."""

    code: bytes
    log: str


class Nvrtc:
    """NVIDIA's runtime compiler, through its C interface."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.nvrtcGetErrorString.restype = ctypes.c_char_p

    @property
    def version(self) -> str:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    @property
    def architectures(self) -> list[int]:
        """The architectures that it compiles for, 90 for sm_90, in ascending order."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", numbers)
        return sorted(numbers)

    def compile(self, kernel: Kernel, architecture: str) -> Compiled:
        """Compile to machine code for `sm_90`, to PTX for `compute_90`.

        Raises:
            BackendError: compilation fails; the message holds the compiler's log.
        """
        program = self._program(kernel)
        try:
            options = _options(kernel, architecture)
            flags = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            failed = self._library.nvrtcCompileProgram(program, len(options), flags)
            log = self._text(program, "ProgramLog").decode().rstrip("\0")
            if failed:
                raise BackendError(f"kernel {kernel.name!r} does not compile: {log}")
            kind = "PTX" if architecture.startswith("compute_") else "CUBIN"
            return Compiled(self._text(program, kind), log)
        finally:
            self._call("nvrtcDestroyProgram", ctypes.byref(program))

    def _program(self, kernel: Kernel) -> ctypes.c_void_p:
        headers = sorted(SOURCES.glob("*.cuh"))
        contents = (ctypes.c_char_p * len(headers))(*(header.read_bytes() for header in headers))
        names = (ctypes.c_char_p * len(headers))(*(header.name.encode() for header in headers))
        source = _source(kernel.name)
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram",
            *(ctypes.byref(program), source.read_bytes(), source.name.encode()),
            *(len(headers), contents, names),
        )
        return program

    def _text(self, program: ctypes.c_void_p, kind: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{kind}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{kind}", program, text)
        return text.raw

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            reason = self._library.nvrtcGetErrorString(status).decode()
            raise BackendError(f"NVRTC failed in {name}: {reason}")


@cache
def find_nvrtc() -> Nvrtc | None:
    """Return the NVRTC of the CUDA version that PyTorch is built for, if it can be loaded."""
    for candidate in _candidates():
        with suppress(OSError):
            return Nvrtc(ctypes.CDLL(candidate))
    return None


def compiled(nvrtc: Nvrtc, kernel: Kernel, capability: tuple[int, int]) -> bytes:
    """Return a kernel's code for a device, from disk if it was compiled before."""
    architecture = architecture_for(nvrtc, capability)
    path = cache_folder() / f"{_key(nvrtc, kernel, architecture)}.bin"
    with suppress(OSError):
        return read_whole(path)
    code = nvrtc.compile(kernel, architecture).code
    # A folder that cannot be written to costs the next process a compilation, nothing else.
    with suppress(OSError), put_in_place(path) as partial:
        partial.write_bytes(code)
    return code


def architecture_for(nvrtc: Nvrtc, capability: tuple[int, int]) -> str:
    """Return a device's architecture, else the newest below it, whose PTX the driver compiles.

    Raises:
        BackendError: the compiler supports none that the device could run.
    """
    device = capability[0] * 10 + capability[1]
    known = [architecture for architecture in nvrtc.architectures if architecture <= device]
    if device < OLDEST or not known:
        raise BackendError(
            f"its kernels need compute capability 7.0 or newer and NVRTC {nvrtc.version}"
            f" {nvrtc.architectures[0] / 10}; the device has {capability[0]}.{capability[1]}"
        )
    return f"sm_{device}" if known[-1] == device else f"compute_{known[-1]}"


def _candidates() -> list[str]:
    major = (torch.version.cuda or "").split(".")[0]
    name = f"nvrtc64_{major}0_0.dll" if sys.platform == "win32" else f"libnvrtc.so.{major}"
    spec = find_spec("nvidia") if major else None
    folders = (spec.submodule_search_locations or []) if spec else []
    installed = [str(path) for folder in folders for path in sorted(Path(folder).rglob(name))]
    return [*installed, name] if major else []


def _source(name: str) -> Path:
    return SOURCES / f"{name}.cu"


def _options(kernel: Kernel, architecture: str) -> list[str]:
    return [f"--gpu-architecture={architecture}", "--std=c++17", *kernel.options]


def _key(nvrtc: Nvrtc, kernel: Kernel, architecture: str) -> str:
    text = "\n".join([kernel.name, nvrtc.version, *_options(kernel, architecture), _sources()])
    return f"{kernel.name}-{architecture}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@cache
def _sources() -> str:
    return "".join(path.read_text() for path in sorted(SOURCES.iterdir()))
