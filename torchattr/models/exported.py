"""Programs saved by ``torch.export.save``."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from torchattr.errors import ModelError, WeightsError
from torchattr.models.loaded import LoadedModel, in_eval_mode
from torchattr.models.user_file import imagenet_transform


def load(path: Path, weights: str | Path | None, device: torch.device) -> LoadedModel:
    """An exported program; its preprocessing is ImageNet's at the size that it was exported for."""
    if weights is not None:
        raise WeightsError(f"{path} holds its own weights; leave weights out")
    if not path.is_file():
        raise ModelError(f"there is no file {path}")
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is damaged or was not written by torch.export.save")
    program = _program(path)
    size = _image_size(program, path)
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    model = in_eval_mode(program.module())
    return LoadedModel(path.name, model, imagenet_transform(path.name, size))


def _program(path: Path) -> ExportedProgram:
    try:
        with warnings.catch_warnings():
            # Some versions of torch remark on their own reading of the file.
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            return torch.export.load(path)
    except (RuntimeError, ValueError, LookupError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path} could not be loaded by torch.export.load: {reason}") from error


def _image_size(program: ExportedProgram, path: Path) -> int:
    inputs = program.example_inputs[0] if program.example_inputs else ()
    shape = tuple(getattr(inputs[0], "shape", ())) if inputs else ()
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise ModelError(
            f"{path} was not exported for square RGB pictures (N, 3, H, H): its first input has "
            f"the shape {shape}; wrap it in path/to/file.py:FUNCTION with its own transform"
        )
    return int(shape[2])
