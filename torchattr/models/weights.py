"""Reading weights from a file, without running code from it, and fitting them to a model."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from torchattr.errors import WeightsError

RANDOM = "random"
"""Instead of a file: untrained weights."""

StateDict = dict[str, torch.Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "model_ema", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_SHOWN = 4


def read_weights(path: str | Path) -> StateDict:
    """The named tensors in a ``.safetensors`` file or a PyTorch checkpoint, on the CPU.

    Checkpoints are read with ``weights_only=True``, so no code in them runs. A training checkpoint
    that keeps the weights under ``state_dict``, ``model`` or a similar key is unwrapped.

    Raises ``WeightsError`` when the file is missing or damaged, holds no named tensors, or is a
    pickle that needs code to load.

    >>> from safetensors.torch import save_file
    >>> save_file({"fc.bias": torch.zeros(1000)}, "weights.safetensors")
    >>> read_weights("weights.safetensors")["fc.bias"].shape
    torch.Size([1000])
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f"weights: there is no file {path}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    return _unwrap(content, path)


def fit_weights(model: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load named tensors into a model, all of them or none said to fit.

    A prefix that all names share (``module.`` of ``DataParallel``, ``_orig_mod.`` of
    ``torch.compile``) is taken off where the model does not have it. Batch counters of batch-norm
    may be missing, as in old checkpoints.

    source: where the tensors came from, for the message.
    Raises ``WeightsError`` listing a few of the names that are missing, unexpected or mis-shaped;
    the model is then partly loaded and must not be used.
    """
    state = _strip_prefixes(dict(state), model)
    misshaped = _misshaped(model, state)
    fitting = {name: value for name, value in state.items() if name not in misshaped}
    try:
        keys = model.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"weights {source} do not fit the model: {error}") from error
    missing = [
        name
        for name in keys.missing_keys
        if name not in misshaped and not name.endswith("num_batches_tracked")
    ]
    problems = {
        "missing": missing,
        "unexpected": keys.unexpected_keys,
        "of another shape": list(misshaped.values()),
    }
    if any(problems.values()):
        raise WeightsError(_mismatch(source, problems))


def _read_safetensors(path: Path) -> StateDict:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"weights: {path} is not a whole safetensors file ({error})") from error


def _read_checkpoint(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Both are followed by an error that says the same, or turn out to be harmless.
            warnings.filterwarnings("ignore", message=".*TorchScript archive.*")
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(_needs_code(path)) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        if "TorchScript" in str(error):
            raise WeightsError(_needs_code(path)) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"weights: {path} is damaged or not a PyTorch checkpoint ({reason})"
        ) from error


def _needs_code(path: Path) -> str:
    return (
        f"weights: {path} holds more than tensors, and running the code it asks for is refused. "
        "If you trust it, load it once where it was made and save only its tensors: "
        "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
    )


def _unwrap(content: Any, path: Path) -> StateDict:
    while isinstance(content, Mapping) and not _is_state_dict(content):
        inner = next((content[key] for key in _WRAPPERS if key in content), None)
        if not isinstance(inner, Mapping):
            break
        content = inner
    if not _is_state_dict(content):
        raise WeightsError(
            f"weights: {path} must hold a dictionary of named tensors (a state_dict), "
            f"got {_outline(content)}"
        )
    return dict(content)


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(key, str) for key in content)
        and all(isinstance(value, torch.Tensor) for value in content.values())
    )


def _outline(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary with {_few(str(key) for key in content) or 'no keys'}"
    return type(content).__name__


def _strip_prefixes(state: StateDict, model: nn.Module) -> StateDict:
    own = model.state_dict().keys()
    for prefix in _PREFIXES * 2:
        if all(k.startswith(prefix) for k in state) and not any(k.startswith(prefix) for k in own):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _misshaped(model: nn.Module, state: StateDict) -> dict[str, str]:
    return {
        name: f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in model.state_dict().items()
        if name in state and state[name].shape != value.shape
    }


def _mismatch(source: str, problems: Mapping[str, list[str]]) -> str:
    parts = [f"{len(names)} {kind}: {_few(names)}" for kind, names in problems.items() if names]
    return (
        f"weights {source} do not fit the model; {'; '.join(parts)}. "
        "Give weights made for this architecture and this number of classes."
    )


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
