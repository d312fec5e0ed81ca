"""Panels of fixed pictures, drawn again and again while a model is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from torchattr.core.targets import Target, TopK
from torchattr.core.types import Layers, OutputKey
from torchattr.core.undoing import undone
from torchattr.errors import ShapeError
from torchattr.explanation import METHODS, MethodLike, explain
from torchattr.results import ClassNames, Subject, entry_of, numbered_names, with_rows


@dataclass(frozen=True, eq=False)
class FixedPanels:
    """What is explained each time: the same inputs, methods and targets.

    inputs: `(N, C, H, W)`, preprocessed.
    methods, targets, layer, output: see :func:`torchattr.explain`.
    images: the N pictures as they were read; `None` draws the inputs, rescaled.
    names: a name for each picture; `None` numbers them.
    class_names: one name for each output, or a dict from indices.
    cell: the shorter side of each picture in a panel, in pixels.

    Raises:
        ShapeError: images or names are not one for each input.
    """

    inputs: Tensor
    methods: MethodLike | Sequence[MethodLike] | Mapping[Any, Mapping[str, Any]] = METHODS
    targets: Target = field(default_factory=lambda: TopK(1))
    layer: Layers | None = None
    output: OutputKey = None
    images: Sequence[Any] | None = None
    names: Sequence[str] | None = None
    class_names: ClassNames | None = None
    cell: int = 256

    def __post_init__(self) -> None:
        for argument in ("images", "names"):
            given = getattr(self, argument)
            if given is not None and len(given) != len(self.inputs):
                raise ShapeError(
                    f"{argument} has {len(given)} entries for {len(self.inputs)} inputs"
                )

    def draw(self, model: nn.Module) -> list[tuple[str, Image.Image]]:
        """Return the panel of each picture with its name; the model stays as it is.

        It runs in eval mode, without a draw from the random numbers of the training.

        Raises:
            TorchattrError: a method, target or layer that does not fit the model.
        """
        with in_eval_mode(model), own_random_numbers(model):
            explanation = explain(
                model,
                _like(self.inputs, model),
                self.methods,
                self.targets,
                layer=self.layer,
                output=self.output,
            )
        whole = with_rows(explanation)
        names = self.names if self.names is not None else numbered_names(len(self.inputs))
        drawn = (
            (name, entry_of(whole, index, self._subject(index, name), self.class_names, self.cell))
            for index, name in enumerate(names)
        )
        return [(name, entry.picture) for name, entry in drawn if entry.picture is not None]

    def _subject(self, index: int, name: str) -> Subject:
        return Subject(name, None if self.images is None else self.images[index])


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, and each of its modules back into its own mode."""
    with undone() as undo:
        for module in model.modules():
            undo.later(partial(setattr, module, "training", module.training))
        model.eval()
        yield


@contextmanager
def own_random_numbers(model: nn.Module) -> Iterator[None]:
    """Restore the states of PyTorch's generators, of the CPU and of the model's device."""
    device = _tensor_of(model).device
    with undone() as undo:
        undo.later(partial(torch.set_rng_state, torch.get_rng_state()))
        if device.type == "cuda":
            state = torch.cuda.get_rng_state(device)
            undo.later(partial(torch.cuda.set_rng_state, state, device))
        yield


def _like(inputs: Tensor, model: nn.Module) -> Tensor:
    """Return inputs on the device and in the precision of a model's parameters."""
    first = _tensor_of(model)
    return inputs.to(first.device, first.dtype if first.is_floating_point() else inputs.dtype)


def _tensor_of(model: nn.Module) -> Tensor:
    return next((one for one in (*model.parameters(), *model.buffers())), torch.empty(0))
