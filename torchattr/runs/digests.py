"""What the results of a picture depend on, as one digest: the same digest, the same results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from pickle import PickleError
from typing import Any, cast
from uuid import uuid4

import torch
from torch import nn

from torchattr.methods import find_method
from torchattr.models import LoadedModel
from torchattr.runs.job import PictureJob, made_by

_BLOCK = 1 << 20
_UNREADABLE = (RuntimeError, TypeError, AttributeError, ValueError, PickleError)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def run_digest(looks: Sequence[PictureJob]) -> str:
    """Return the digest of models, looks and versions; what is made of a picture, but for itself.

    Of a model it takes parameters and buffers, what it is printed as, and the source files of its
    layers, its transform and the methods. What these read besides (another file, the environment)
    is not seen.
    """
    models = {id(look.loaded): look.loaded for look in looks}
    said = [[type(look).__qualname__, look.chosen(), made_by(look.loaded)] for look in looks]
    digest = sha256(_plain(said).encode())
    for loaded in models.values():
        digest.update(_model_digest(loaded).encode())
    for file in sorted({file for look in looks for file in _sources(look)}):
        digest.update(_file_digest(file).encode())
    return digest.hexdigest()


def picture_digest(run: str, path: Path, name: str) -> str:
    """Return the digest of all the results of a picture. name: what their files are called."""
    said = json.dumps([run, str(path), name, _file_digest(str(path))])
    return sha256(said.encode()).hexdigest()


def _model_digest(loaded: LoadedModel) -> str:
    said = [repr(loaded.model), repr(loaded.transform), loaded.class_names, loaded.activation]
    digest = sha256(_plain(said).encode())
    digest.update(str(getattr(loaded.model, "code", "")).encode())
    try:
        torch.save(_state(loaded.model), cast(Any, _Hashing(digest)))
    except _UNREADABLE:
        # Weights that cannot be read are never known to be the same as before.
        digest.update(uuid4().bytes)
    return digest.hexdigest()


def _state(model: nn.Module) -> dict[str, Any]:
    # A state dict leaves out buffers that are not persistent.
    return {**dict(model.named_buffers()), **model.state_dict()}


class _Hashing:
    """A file that keeps nothing but the digest of what is written to it."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        return


def _sources(look: PictureJob) -> Iterator[str]:
    settings = getattr(look, "settings", look)
    for name in (*getattr(settings, "names", ()), *getattr(settings, "methods", ())):
        yield from _files_of(find_method(name), "attribute")
    for module in look.loaded.model.modules():
        yield from _files_of(type(module), "forward")
    yield from _files_of(type(look.loaded.transform), "__call__")
    yield from _file_of(look.loaded.transform)


def _files_of(kind: type, function: str) -> Iterator[str]:
    for one in kind.__mro__:
        yield from _file_of(vars(one).get(function))


def _file_of(function: Any) -> Iterator[str]:
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    if os.path.isfile(file):
        yield file


def _file_digest(file: str) -> str:
    digest = sha256()
    try:
        with open(file, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def _plain(said: Any) -> str:
    """Write plain data and reprs, without the addresses that differ from run to run."""
    return _ADDRESS.sub("", json.dumps(said, default=repr))
