"""Loads and launches kernels with the CUDA driver, on PyTorch's context and stream."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache

import torch

from torchattr.core.torch_private import current_raw_stream
from torchattr.errors import BackendError
from torchattr.kernels.cuda.compile import architecture_for, compiled, find_nvrtc
from torchattr.kernels.cuda.launch import THREADS, Kernel, Launcher, LaunchPlan


class DriverLauncher(Launcher):
    """Compiles with NVRTC at first use; launches on the current stream of the tensors' device.

    A kernel is loaded once per process and device. A CUDA graph can capture its calls if it ran
    once before, like everything that loads lazily.
    """

    def __init__(self) -> None:
        self._functions: dict[tuple[Kernel, int], ctypes.c_void_p] = {}

    def refusals(self, device: torch.device) -> list[str]:
        reasons = list(_missing())
        if device.type != "cuda":
            return [f"it runs on CUDA devices, not on {device.type}", *reasons]
        return reasons or list(_unsuitable(_number(device)))

    def launch(
        self, plan: LaunchPlan, device: torch.device, addresses: Sequence[int | None]
    ) -> None:
        number = _number(device)
        if number == torch.cuda.current_device():
            self._enqueue(plan, number, addresses)
        else:
            with torch.cuda.device(number):
                self._enqueue(plan, number, addresses)

    def _enqueue(self, plan: LaunchPlan, number: int, addresses: Sequence[int | None]) -> None:
        # Autograd's threads may not have a context yet, which the driver needs.
        _check("cuCtxSetCurrent", _set_context()(_context(number)))
        function, stream = self._function(plan, number), current_raw_stream(number)
        parameters = plan.parameters(addresses)
        status = _launch_kernel()(
            *(function, plan.blocks, 1, 1, THREADS, 1, 1, 0, stream, parameters.array, None)
        )
        _check("cuLaunchKernel", status)

    def _function(self, plan: LaunchPlan, number: int) -> ctypes.c_void_p:
        function = plan.loaded.get(number)
        if function is None:
            function = plan.loaded[number] = self._of_kernel(plan.kernel, number)
        return function

    def _of_kernel(self, kernel: Kernel, number: int) -> ctypes.c_void_p:
        function = self._functions.get((kernel, number))
        if function is None:
            function = self._functions[kernel, number] = _loaded(kernel, number)
        return function


def _loaded(kernel: Kernel, number: int) -> ctypes.c_void_p:
    nvrtc = find_nvrtc()
    if nvrtc is None:
        raise BackendError(_NO_NVRTC)
    code = compiled(nvrtc, kernel, torch.cuda.get_device_capability(number))
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _call("cuModuleLoadData", ctypes.byref(module), code)
    _call("cuModuleGetFunction", ctypes.byref(function), module, kernel.name.encode())
    return function


_NO_NVRTC = "NVRTC, CUDA's runtime compiler, was not found (pip install nvidia-cuda-nvrtc)"
_NO_DRIVER = "NVIDIA driver not found"


@cache
def _missing() -> tuple[str, ...]:
    """Return what the machine lacks."""
    reasons = []
    if torch.version.cuda is None:
        reasons.append("this PyTorch is built without CUDA")
    if find_nvrtc() is None:
        reasons.append(_NO_NVRTC)
    if _driver() is None:
        reasons.append(_NO_DRIVER)
    if not torch.cuda.is_available():
        reasons.append("PyTorch sees no CUDA device")
    return tuple(reasons)


@cache
def _unsuitable(number: int) -> tuple[str, ...]:
    """Return why a device cannot be used, if so."""
    nvrtc = find_nvrtc()
    if nvrtc is None:
        return (_NO_NVRTC,)
    if number >= torch.cuda.device_count():
        return (f"PyTorch sees no CUDA device {number}",)
    try:
        architecture_for(nvrtc, torch.cuda.get_device_capability(number))
    except BackendError as error:
        return (str(error),)
    return ()


@cache
def _driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_uint
    driver.cuLaunchKernel.argtypes = [
        *(ctypes.c_void_p, *(number,) * 7, ctypes.c_void_p),
        *(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p),
    ]
    driver.cuCtxSetCurrent.argtypes = [ctypes.c_void_p]
    return driver


@cache
def _launch_kernel() -> Callable[..., int]:
    return _entry("cuLaunchKernel")


@cache
def _set_context() -> Callable[..., int]:
    return _entry("cuCtxSetCurrent")


def _entry(name: str) -> Callable[..., int]:
    driver = _driver()
    if driver is None:
        raise BackendError(_NO_DRIVER)
    function: Callable[..., int] = getattr(driver, name)
    return function


@cache
def _context(number: int) -> ctypes.c_void_p:
    """Return the context that PyTorch uses on a device."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call("cuDeviceGet", ctypes.byref(device), number)
    _call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    return context


def _number(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _call(name: str, *arguments: object) -> None:
    _check(name, _entry(name)(*arguments))


def _check(name: str, status: int) -> None:
    driver = _driver()
    if status and driver is not None:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(text))
        reason = (text.value or b"unknown error").decode()
        raise BackendError(f"the CUDA driver failed in {name}: {reason}")
