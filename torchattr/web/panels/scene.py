"""The input of a panel: the model, and the picture and class chosen on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from torchattr.core.inputs import as_inputs
from torchattr.core.targets import Classes
from torchattr.errors import OutputError, TargetError
from torchattr.explanation import Explanation, explain
from torchattr.methods import last_spatial_layer
from torchattr.models import LoadedModel, PreparedImage
from torchattr.runs import Answer, Asked, NamedTarget, Region, ScoreReader, asked_of, device_of


@dataclass(frozen=True, eq=False)
class Scene:
    """The model, and the picture and class chosen on the page.

    Attributes:
        loaded: the model with its preprocessing and class names.
        reader: reads the class scores from the model's output.
        prepared: the picture, as it was read and as the model's input.
        target: the chosen class; `None` for the predicted one.
        region: a point or a box of the picture, in its pixels, that is explained instead of the
            score of a class; see :class:`torchattr.runs.Region`.

    >>> from torchattr.models import load_model, read_image
    >>> from torchattr.models.collage import examples
    >>> from torchattr.runs import ScoreReader
    >>> demo = load_model("demo")
    >>> picture = demo.preprocess(read_image(examples()[0].path))
    >>> scene = Scene(demo, ScoreReader(demo), picture, target=1)
    >>> scene.inputs.shape, scene.class_name
    (torch.Size([1, 3, 128, 128]), 'cat')
    """

    loaded: LoadedModel
    reader: ScoreReader
    prepared: PreparedImage
    target: int | None = None
    region: tuple[float, ...] | None = None

    @cached_property
    def inputs(self) -> Tensor:
        """The model's input, `(1, C, H, W)`, on its device."""
        return self.prepared.tensor[None].to(device_of(self.loaded))

    @cached_property
    def answer(self) -> Answer:
        """The scores of all classes."""
        return self.reader.answer(self.inputs)

    @cached_property
    def named(self) -> NamedTarget:
        """What is explained.

        Raises:
            TargetError: the class is out of range, or there is nothing in the region.
        """
        if self.region is None or self.answer.raw is None:
            return NamedTarget(self.loaded.class_name(self._class), self._class)
        region = Region(self.region, self.prepared, self.answer.raw)
        target, index = region.target(self._class)
        kind = (target.title or type(target).__name__).lower().removesuffix("es")
        return NamedTarget(f"{kind}: {self.loaded.class_name(index)}", index, target)

    @cached_property
    def asked(self) -> Asked:
        """What methods are called with to explain it."""
        return asked_of([self.named], self.answer, self.reader)

    @property
    def chosen(self) -> int:
        """The class that is explained, see :attr:`named`."""
        return self.named.index

    @cached_property
    def _class(self) -> int:
        """The chosen class, or the one with the highest score.

        Raises:
            OutputError: the model returns no scores.
            TargetError: the class is out of range.
        """
        count = len(self.answer.probabilities)
        if not count:
            raise OutputError(f"{self.loaded.name} returns no class scores")
        if self.target is None:
            return int(self.answer.probabilities.argmax())
        if not 0 <= self.target < count:
            raise TargetError(
                f"class {self.target} is out of range; {self.loaded.name} has classes 0 to"
                f" {count - 1}"
            )
        return self.target

    @property
    def class_name(self) -> str:
        return self.loaded.class_name(self.chosen)

    @cached_property
    def default_layer(self) -> str:
        """The last layer with spatial dimensions.

        Raises:
            LayerError: no layer has spatial dimensions.
        """
        inputs = as_inputs(self.inputs)
        name, _ = last_spatial_layer(self.loaded.model, inputs, (), self.reader.scores)
        return name

    def explain(self, method: Any, options: Mapping[str, Any] | None = None) -> Explanation:
        """Run a method, by name or as an object, for what is explained; see :func:`explain`."""
        return explain(
            self.loaded.model,
            self.inputs,
            {method: options or {}},
            Classes(self.asked.targets),
            output=self.asked.output,
        )
