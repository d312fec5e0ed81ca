"""Every private name of PyTorch that torchattr uses, with what it is needed for.

Nothing else in the package imports or names one, so that a new release of PyTorch is checked here.
All of them exist since torch 2.9, the oldest supported version. Attributes of tensors and graph
nodes that PyTorch documents no public name for (`_base`, `_version`, `_is_view`, `_saved_*`) are
read where they are needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import torch
import torch._C._nn as aten_nn
from torch._C import DisableTorchFunction, DisableTorchFunctionSubclass, ScriptMethod
from torch._C._autograd import _top_saved_tensors_default_hooks as top_saved_tensors_hooks
from torch._C._functorch import (
    TransformType,
    get_interpreter_stack,
    get_unwrapped,
    is_functorch_wrapped_tensor,
    peek_interpreter_stack,
)
from torch._ops import OpOverload, OpOverloadPacket
from torch._VF import _make_dual as make_dual
from torch._vmap_internals import _vmap as vmap_with_none
from torch.autograd.graph import _engine_run_backward as engine_run_backward
from torch.nn.modules._functions import BackwardHookFunction
from torch.overrides import _get_current_function_mode_stack as function_mode_stack
from torch.overrides import _pop_mode as pop_function_mode
from torch.utils import _python_dispatch as python_dispatch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

AccumulateGrad: Any = getattr(torch._C, "_functions").AccumulateGrad  # noqa: B009 - not typed
"""The node of a leaf of the graph, such as a parameter."""

foreach_add: Any = getattr(torch, "_foreach_add")  # noqa: B009 - not exported
foreach_mul: Any = getattr(torch, "_foreach_mul")  # noqa: B009 - not exported
foreach_rsqrt_: Any = getattr(torch, "_foreach_rsqrt_")  # noqa: B009 - not exported

__all__ = [
    "AccumulateGrad",
    "BackwardHookFunction",
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "OpOverload",
    "OpOverloadPacket",
    "ScriptMethod",
    "TorchDispatchMode",
    "TransformType",
    "aten_nn",
    "current_raw_stream",
    "dynamo_stance",
    "engine_run_backward",
    "foreach_add",
    "foreach_mul",
    "foreach_rsqrt_",
    "function_mode_stack",
    "get_interpreter_stack",
    "get_unwrapped",
    "is_functorch_wrapped_tensor",
    "is_mapped",
    "make_dual",
    "make_wrapper_subclass",
    "opened",
    "peek_interpreter_stack",
    "pop_function_mode",
    "python_dispatch",
    "pytree",
    "set_dynamo_stance",
    "set_grad_enabled",
    "top_saved_tensors_hooks",
    "vmap_with_none",
]

# DisableTorchFunction(Subclass): our own arithmetic, hidden from modes or tensor subclasses.
# ScriptMethod: scripted models hide their operations and are refused.
# TransformType to peek_interpreter_stack: the tensors that `torch.func` transforms pass.
# OpOverload, OpOverloadPacket: exported programs call operators by them.
# aten_nn: functions that `torch.nn.functional` only names, such as its pools with indices.
# top_saved_tensors_hooks: whose hooks pack what the forward saves at present.
# make_dual: starts forward-mode differentiation.
# engine_run_backward: torch.autograd.grad is a function that modes intercept; it runs this.
# BackwardHookFunction: the identity that carries a module's backward hooks.
# function_mode_stack, pop_function_mode, python_dispatch: leaving a mode that an error left active.
# pytree: containers of tensors, including those that users register.
# foreach_add, foreach_mul, foreach_rsqrt_: one operation on many small tensors.
# vmap_with_none: the public vmap refuses `None`, the gradient of what a backward does not reach.
# TorchDispatchMode: counting the operators that a forward runs.

make_wrapper_subclass = torch.Tensor._make_wrapper_subclass
"""Creates a tensor of a subclass that has a shape but no memory."""

set_grad_enabled = torch._C._set_grad_enabled
"""Sets gradient mode without a context manager, so that it can be undone in any order."""


def current_raw_stream(device: int) -> int:
    """Return the handle of the current stream of a CUDA device, without an object around it."""
    handle: int = torch._C._cuda_getCurrentRawStream(device)
    return handle


_BATCHED: Any = torch._C._parse_dispatch_key("Batched")


def is_mapped(tensor: torch.Tensor) -> bool:
    """Whether a tensor stands for several, over which `vmap_with_none` maps."""
    mapped: bool = torch._C._dispatch_keys(tensor).has(_BATCHED)
    return mapped


_EVAL_FRAME = "torch._dynamo.eval_frame"


def dynamo_stance() -> Any | None:
    """Return the current stance of `torch.compile`; `None` if the compiler is not loaded.

    While another thread is loading it, the module may be there without its stance.
    """
    return getattr(sys.modules.get(_EVAL_FRAME), "_stance", None)


def set_dynamo_stance(stance: Any) -> None:
    """Restore a stance of `torch.compile`, which `torch.compiler.set_stance` cannot do."""
    sys.modules[_EVAL_FRAME]._set_stance(stance)


@cache
def opened(function: Any) -> Callable[..., Any]:
    """Return a Python function of PyTorch whose inner calls a mode sees one by one.

    Such a function hands itself to the mode as a whole. In the copy nothing seems to override
    torch functions, so that it runs its body instead.
    """
    hidden = {name: _answer_no for name in function.__globals__ if name in _ASK_FOR_OVERRIDES}
    scope = {**function.__globals__, **hidden}
    code, name = function.__code__, function.__name__
    body = FunctionType(code, scope, name, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body


_ASK_FOR_OVERRIDES = (
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
)


def _answer_no(*args: Any) -> bool:
    return False
