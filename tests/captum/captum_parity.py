"""Compare a Captum method with ours of the same name, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from types import ModuleType
from typing import Any

import captum.attr
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr.captum

TOLERANCE = 1e-10

# Captum 0.9 rounds the weights of its path integrals, and whatever occlusion gives, to float32,
# also where everything else is float64. Two roundings and their sum make two units at most.
SINGLE = 2.0**-22

Wrap = Callable[[nn.Module], Callable[..., Any]]


def assert_parity(
    name: str,
    model: nn.Module,
    inputs: Any,
    *,
    layer: str | list[str] | None = None,
    of: str | None = None,
    wrap: Wrap = lambda model: model,
    tolerance: float = TOLERANCE,
    **options: Any,
) -> Any:
    """Fail unless both libraries return the same form and the same numbers; return ours.

    Args:
        name: name of the class.
        model: in eval mode; Captum gets a copy, since it leaves hooks behind.
        inputs: Captum gets copies, since it sets their flags.
        layer: by name; both get the modules.
        of: the method that the class (a noise tunnel) smooths.
        wrap: makes the function to explain from the model.
        tolerance: largest allowed difference, relative to Captum's largest magnitude.
        options: those of `attribute`; `multiply_by_inputs` is passed to the class.
    """
    ours = _run(torchattr.captum, name, model, inputs, layer, of, wrap, dict(options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copies = deepcopy(model), _cloned(inputs)
        theirs = _run(captum.attr, name, *copies, layer, of, wrap, dict(options))
    assert_alike(ours, theirs, tolerance)
    return ours


def assert_alike(ours: Any, theirs: Any, tolerance: float) -> None:
    """Compare results of any form, tensor by tensor; ours must be float64, and detached."""
    if isinstance(theirs, Tensor):
        assert ours.dtype == torch.float64
        assert not ours.requires_grad
        assert_same(ours, theirs.detach().double(), tolerance)
        return
    assert type(ours) is type(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert_alike(one, other, tolerance)


def _run(
    library: ModuleType,
    name: str,
    model: nn.Module,
    inputs: Any,
    layer: str | list[str] | None,
    of: str | None,
    wrap: Wrap,
    options: dict[str, Any],
) -> Any:
    forward = wrap(model)
    positional = [] if layer is None else [_layers(model, layer)]
    named = {key: options.pop(key) for key in ("multiply_by_inputs",) if key in options}
    method = getattr(library, of or name)(forward, *positional, **named)
    if of:
        method = getattr(library, name)(method)
    torch.manual_seed(0)
    return method.attribute(inputs, **options)


def _layers(model: nn.Module, layer: str | list[str]) -> Any:
    if isinstance(layer, str):
        return model.get_submodule(layer)
    return [model.get_submodule(name) for name in layer]


def _cloned(inputs: Any) -> Any:
    return tuple(x.clone() for x in inputs) if isinstance(inputs, tuple) else inputs.clone()


def calibrated(model: nn.Module, *shape: int) -> nn.Module:
    """Set batch-norm statistics from noise, so that deep random models propagate signals."""
    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        model.train()(noise(*shape))
    return model.eval()


def convolutions() -> nn.Module:
    """Return the first model below for which no method is zero for its third class."""
    return calibrated(seeded(Convolutions, seed=1), 8, 3, 12, 8)


class Convolutions(nn.Module):
    """Scores `(N, 5)` of images, with every ReLU a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu1 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.relu2 = nn.ReLU()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 4 * 2, 7), nn.ReLU(), nn.Linear(7, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu1(self.norm(self.conv1(x))))
        return self.head(self.relu2(self.conv2(x)))


class Sequences(nn.Sequential):
    """Scores `(N, 4)` of signals `(N, 2, 12)`."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv1d(2, 5, 3, stride=2),
            nn.ReLU(),
            nn.Conv1d(5, 6, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, 4),
        )


class Values(nn.Module):
    """One value for each example of features `(N, 6)`: `(N,)`, or `(N, 1)`."""

    def __init__(self, *, column: bool = False) -> None:
        super().__init__()
        self.column = column
        self.layers = nn.Sequential(
            nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        scores = self.layers(x)
        return scores if self.column else scores.squeeze(1)


class Segmentation(nn.Sequential):
    """Scores `(N, 4, H, W)`: one for each class and position."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1), nn.ReLU()
        )


class TwoInputs(nn.Module):
    """Scores `(N, 5)` of images and features, with a further tensor and a further flag."""

    def __init__(self) -> None:
        super().__init__()
        self.images = Convolutions()
        self.features = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
        self.both = Both()

    def forward(
        self, image: Tensor, features: Tensor, weight: Tensor | None = None, add: bool = True
    ) -> Tensor:
        scores, more = self.both(self.images(image), self.features(features))
        more = more if weight is None else more * weight
        return scores + more if add else scores - more


class Both(nn.Module):
    """A layer that takes and returns two tensors."""

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return left * 2 + right, right * left


IMAGES = noise(3, 3, 12, 8)
SIGNALS = noise(3, 2, 12)
FEATURES = noise(3, 6)
