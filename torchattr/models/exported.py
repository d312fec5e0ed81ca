"""Load programs saved by ``torch.export.save``."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from torchattr.core.gradient_mode import gradients
from torchattr.core.undoing import own_filters, undone
from torchattr.errors import Hint, ModelError, WayOut, WeightsError
from torchattr.models.loaded import LoadedModel, in_eval_mode
from torchattr.models.read_errors import ReadErrors, reason
from torchattr.models.user_file import imagenet_transform


def load(
    path: Path, weights: str | Path | None, device: torch.device, trust: bool = False
) -> LoadedModel:
    """Load an exported program, with ImageNet's preprocessing at the size of its export.

    Reading such a file runs code: its constants are pickles, its shapes are evaluated expressions,
    and it may contain compiled libraries. So it is read only if it is trusted.

    Raises ``ModelError`` for a file that is not trusted, is damaged, or takes no square images.
    """
    if weights is not None:
        raise WeightsError(f"{path} contains its own weights; omit weights")
    if not path.is_file():
        raise ModelError(f"there is no file {path}")
    if not trust:
        raise ModelError(
            f"{path} is an exported program, and loading one can run any code that its author put"
            " there",
            hint=Hint(
                ways_out=[WayOut("if you trust its source, allow it with {setting}", "trust", True)]
            ),
        )
    with ReadErrors(partial(_damaged, path)), _quiet():
        program = _program(path)
        size = _image_size(program, path)
        model = _module(program, device)
        _check_runs(model, torch.zeros(1, 3, size, size, device=device), path)
    return LoadedModel(path.name, model, imagenet_transform(path.name, size))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence PyTorch's logging about unreadable files; an error reports them."""
    with undone() as undo, own_filters():
        undo.later(partial(logging.disable, logging.root.manager.disable))
        logging.disable(logging.CRITICAL)
        # Some versions of PyTorch warn about their own way of reading the file.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        yield


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path} is damaged or was not written by torch.export.save: {reason}")


def _program(path: Path) -> ExportedProgram:
    with zipfile.ZipFile(path) as archive:
        # PyTorch checks no checksums, and would silently load corrupted weights.
        changed = archive.testzip()
    if changed is not None:
        raise ModelError(f"{path} is damaged: the checksum of its entry {changed} is wrong")
    return torch.export.load(path)


def _module(program: ExportedProgram, device: torch.device) -> nn.Module:
    moved = program if device.type == "cpu" else move_to_device_pass(program, device)
    return in_eval_mode(moved.module())


def _check_runs(model: nn.Module, picture: torch.Tensor, path: Path) -> None:
    """Run the program once: only that reveals a damaged graph or a fixed batch size."""
    try:
        with gradients(False):
            model(picture)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be run on one image {tuple(picture.shape)}: {reason(error)}; export it"
            " for a batch of 1 or a dynamic batch size, and without further inputs"
        ) from error


def _image_size(program: ExportedProgram, path: Path) -> int:
    inputs = program.example_inputs[0] if program.example_inputs else ()
    shape = tuple(getattr(inputs[0], "shape", ())) if inputs else ()
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise ModelError(
            f"{path} was not exported for square RGB images (N, 3, H, H): its first input has "
            f"the shape {shape}; wrap it in path/to/file.py:FUNCTION with its own transform"
        )
    return int(shape[2])
