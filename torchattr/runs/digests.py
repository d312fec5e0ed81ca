"""Digests of everything that the results of a picture depend on."""

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


def run_digest(jobs: Sequence[PictureJob]) -> str:
    """Return the digest of models, jobs and versions: all inputs of a result but the picture.

    Of a model, it covers parameters and buffers, its repr, and the source files of its layers, its
    transform and the methods. Whatever else these read (another file, the environment) is not
    covered.
    """
    models = {id(job.loaded): job.loaded for job in jobs}
    settings = [[type(job).__qualname__, job.chosen(), made_by(job.loaded)] for job in jobs]
    digest = sha256(plain_text(settings).encode())
    for loaded in models.values():
        digest.update(model_digest(loaded).encode())
    for file in sorted({file for job in jobs for file in _sources(job)}):
        digest.update(_file_digest(file).encode())
    return digest.hexdigest()


def source_digest(loaded: LoadedModel, methods: Sequence[str]) -> str:
    """Return the digest of the source files of a model's layers, its transform and the methods."""
    files = {*_sources_of_model(loaded), *_sources_of_methods(methods)}
    return sha256("".join(map(_file_digest, sorted(files))).encode()).hexdigest()


def picture_digest(run: str, path: Path, name: str) -> str:
    """Return the digest of all the results of a picture. name: the stem of their files."""
    identity = json.dumps([run, str(path), name, _file_digest(str(path))])
    return sha256(identity.encode()).hexdigest()


def model_digest(loaded: LoadedModel) -> str:
    """Return the digest of a model: its weights, layers, transform and class names."""
    parts = [repr(loaded.model), repr(loaded.transform), loaded.class_names, loaded.activation]
    digest = sha256(plain_text(parts).encode())
    digest.update(str(getattr(loaded.model, "code", "")).encode())
    try:
        torch.save(_state(loaded.model), cast(Any, _Hashing(digest)))
    except _UNREADABLE:
        # Weights that cannot be read may have changed, so the digest is never the same.
        digest.update(uuid4().bytes)
    return digest.hexdigest()


def _state(model: nn.Module) -> dict[str, Any]:
    # A state dict leaves out buffers that are not persistent.
    return {**dict(model.named_buffers()), **model.state_dict()}


class _Hashing:
    """A write-only file that keeps just the digest of its content."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        return


def _sources(job: PictureJob) -> Iterator[str]:
    settings = getattr(job, "settings", job)
    yield from _sources_of_methods(
        (*getattr(settings, "names", ()), *getattr(settings, "methods", ()))
    )
    yield from _sources_of_model(job.loaded)


def _sources_of_methods(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield from _files_of(find_method(name), "attribute")


def _sources_of_model(loaded: LoadedModel) -> Iterator[str]:
    for module in loaded.model.modules():
        yield from _files_of(type(module), "forward")
    yield from _files_of(type(loaded.transform), "__call__")
    yield from _file_of(loaded.transform)


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


def plain_text(data: Any) -> str:
    """Return data as JSON or reprs, without memory addresses, which differ between runs."""
    return _ADDRESS.sub("", json.dumps(data, default=repr))
