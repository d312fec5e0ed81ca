"""Read weights from a file without running code from it, and load them into a model."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from torchattr.core.paths import expanded
from torchattr.core.undoing import own_filters, undone
from torchattr.core.warn import warn
from torchattr.errors import TorchattrWarning, WayOut, WeightsError
from torchattr.models.read_errors import ReadErrors

RANDOM = "random"
UNTRAINED = WayOut("try the untrained model with {setting}", "weights", RANDOM)
"""Instead of a file: untrained weights."""

StateDict = dict[str, torch.Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "model_ema", "net")
_PREFIXES = r"(?:module|_orig_mod|model|net)\."
_COUNTER = "num_batches_tracked"
_SHOWN = 4


class WeightsWarning(TorchattrWarning):
    """A checkpoint contains more than the weights that are used."""


@contextmanager
def same_random_weights() -> Iterator[None]:
    """Initialise the same weights in every process, and keep the caller's random state."""
    with undone() as undo:
        undo.later(partial(torch.set_rng_state, torch.get_rng_state()))
        torch.default_generator.manual_seed(0)
        yield


def read_weights(path: str | Path) -> StateDict:
    """Return the named tensors in a ``.safetensors`` file or a PyTorch checkpoint, on the CPU.

    Checkpoints are read with ``weights_only=True``, so no code in them runs. A training checkpoint
    that keeps the weights under ``state_dict``, ``model`` or a similar key is unwrapped; a
    ``WeightsWarning`` names the other weights, which are not used.

    Raises ``WeightsError`` if the file is missing or damaged, contains no named tensors, or is a
    pickle that runs code on loading.

    >>> from safetensors.torch import save_file
    >>> save_file({"fc.bias": torch.zeros(1000)}, "weights.safetensors")
    >>> read_weights("weights.safetensors")["fc.bias"].shape
    torch.Size([1000])
    """
    path = expanded(path, WeightsError)
    if not path.is_file():
        raise WeightsError(f"weights: there is no file {path}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    return _unwrap(content, path)


def fit_weights(model: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load named tensors into a model; all of them must fit.

    A prefix under which all of the model's names occur (``module.`` of ``DataParallel``,
    ``_orig_mod.`` of ``torch.compile``, ``model.`` of Lightning) is removed; a
    ``WeightsWarning`` names the entries beside it, such as those of a criterion, which are not
    used. Batch counters of batch-norm may be missing, as in old checkpoints.

    source: where the tensors come from, for messages.
    Raises ``WeightsError`` with some of the names that are missing, unexpected or of another shape;
    the model is then partly loaded and must not be used.
    """
    state = _strip_prefix(dict(state), model, source)
    misshaped = _misshaped(model, state)
    fitting = {name: value for name, value in state.items() if name not in misshaped}
    try:
        keys = model.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"weights {source} do not fit the model: {error}") from error
    missing = [
        name for name in keys.missing_keys if name not in misshaped and not name.endswith(_COUNTER)
    ]
    problems = {
        "missing": missing,
        "unexpected": keys.unexpected_keys,
        "of another shape": list(misshaped.values()),
    }
    if any(problems.values()):
        raise WeightsError(_mismatch(source, problems))


def _read_safetensors(path: Path) -> StateDict:
    with ReadErrors(
        lambda why: WeightsError(f"weights: {path} is damaged or not a safetensors file ({why})")
    ):
        return load_file(path)


def _read_checkpoint(path: Path) -> Any:
    with ReadErrors(lambda why: _unreadable(path, why)), own_filters():
        # Either an error follows that says the same, or they are harmless.
        warnings.filterwarnings("ignore", message=".*TorchScript archive.*")
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise WeightsError(_needs_code(path)) from error


def _unreadable(path: Path, reason: str) -> WeightsError:
    if "TorchScript" in reason:
        return WeightsError(_needs_code(path))
    return _damaged(path, "a PyTorch checkpoint", reason)


def _damaged(path: Path, kind: str, reason: str) -> WeightsError:
    return WeightsError(f"weights: {path} is damaged or not {kind} ({reason})")


def _needs_code(path: Path) -> str:
    return (
        f"weights: {path} contains more than tensors, and loading it would run its code. "
        "If you trust it, load it where it was made and save only its tensors: "
        "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
    )


def _unwrap(content: Any, path: Path) -> StateDict:
    tensors = _tensors(content)
    wrapped = {key: value for key, value in _mappings(content).items() if _holds_weights(value)}
    known = [key for key in _WRAPPERS if key in wrapped]
    if tensors and not known:
        _say_ignored(path, [str(key) for key in content if key not in tensors])
        return tensors
    known = known or list(wrapped)
    if not known:
        raise WeightsError(
            f"weights: {path} must contain a dictionary of named tensors (a state_dict), "
            f"got {_outline(content)}"
        )
    if len(known) > 1 and known[0] not in _WRAPPERS:
        raise WeightsError(
            f"weights: {path} contains several sets of weights, {_few(known)}; save only the"
            " intended one"
        )
    _say_ignored(path, [key for key in wrapped if key != known[0]])
    return _unwrap(wrapped[known[0]], path)


def _say_ignored(source: str | Path, names: Sequence[str]) -> None:
    if names:
        warn(
            f"weights: of {source}, {_few(names)} {'is' if len(names) == 1 else 'are'} not used",
            WeightsWarning,
        )


def _tensors(content: Any) -> StateDict:
    """Return the named tensors directly in a dictionary."""
    entries = content.items() if isinstance(content, Mapping) else ()
    return {
        key: value
        for key, value in entries
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }


def _mappings(content: Any) -> dict[str, Mapping[Any, Any]]:
    entries = content.items() if isinstance(content, Mapping) else ()
    return {str(key): value for key, value in entries if isinstance(value, Mapping)}


def _holds_weights(content: Mapping[Any, Any]) -> bool:
    """Whether there are weights at any depth; the state of an optimiser does not count."""
    if "param_groups" in content:
        return False
    return bool(_tensors(content)) or any(map(_holds_weights, _mappings(content).values()))


def _outline(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary with {_few(str(key) for key in content) or 'no keys'}"
    return type(content).__name__


def _strip_prefix(state: StateDict, model: nn.Module, source: str) -> StateDict:
    """Return the weights without the prefix of the model's names, and warn of the others."""
    prefix = _prefix(state, model, source)
    _say_ignored(source, [name for name in state if not name.startswith(prefix)])
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _prefix(state: StateDict, model: nn.Module, source: str) -> str:
    own = {
        name: value.shape
        for name, value in model.state_dict().items()
        if not name.endswith(_COUNTER)
    }
    if not own or any(name in state for name in own):
        return ""
    first = next(iter(own))
    ends = [name.removesuffix(first) for name in state if name.endswith(f".{first}")]
    whole = [end for end in ends if all(end + name in state for name in own)]
    fitting = [end for end in whole if all(state[end + n].shape == own[n] for n in own)] or whole
    found = [end for end in fitting if not re.sub(_PREFIXES, "", end)] or fitting
    if len(found) > 1:
        raise WeightsError(
            f"weights {source} fit the model under several prefixes, {_few(found)}; save only the"
            " intended ones"
        )
    # Where none fits, differences are easiest to see without the prefix that all names share.
    return found[0] if found else _shared(state)


def _shared(state: StateDict) -> str:
    found = re.match(rf"(?:{_PREFIXES})*", next(iter(state), ""))
    shared = found[0] if found else ""
    return shared if all(name.startswith(shared) for name in state) else ""


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
        "Pass weights of this architecture and number of classes."
    )


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
