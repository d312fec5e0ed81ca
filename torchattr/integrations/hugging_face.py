"""Image classifiers of Hugging Face's transformers, explained as their pipelines classify."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from torchattr.core.targets import TopK
from torchattr.errors import InputError, InputTypeError, PackageError
from torchattr.explanation import Explanation, MethodLike, explain
from torchattr.models import LoadedModel, PreparedImage, as_rgb, read_image
from torchattr.results import Subject, array_of, entry_of, flat, with_rows

ImageLike: TypeAlias = "str | Path | Image.Image"

OUTPUT = "logits"
"""The entry of a classifier's output that holds the scores."""


@dataclass(frozen=True, eq=False)
class ProcessorTransform:
    """An image processor as a transform: from a PIL image to a tensor `(C, H, W)`."""

    processor: Any

    def __call__(self, image: Image.Image) -> Tensor:
        return self.processor(image, return_tensors="pt")["pixel_values"][0]


def classifier_of(model: Any, processor: Any, name: str = "") -> LoadedModel:
    """Return an image classifier of transformers with its preprocessing and class names.

    Its scores are the entry "logits" of its output, so what explains it gets `output="logits"`.

    Args:
        model: such as `AutoModelForImageClassification.from_pretrained(name)`.
        processor: its image processor.
        name: the model's name in reports; "" takes the one that it was loaded from.

    Raises:
        InputError: the model does not name its classes, so it is no classifier.
    """
    labels: Mapping[int, str] = getattr(getattr(model, "config", None), "id2label", None) or {}
    if not labels:
        raise InputError(
            f"model must be an image classifier of transformers, got {type(model).__name__};"
            " AutoModelForImageClassification loads one"
        )
    name = name or getattr(model, "name_or_path", "") or type(model).__name__
    several = getattr(model.config, "problem_type", None) == "multi_label_classification"
    return LoadedModel(
        name,
        model.eval(),
        ProcessorTransform(processor),
        tuple(labels[index] for index in sorted(labels)),
        "sigmoid" if several else "logits",
    )


class AttributionPipeline:
    """Explains images as `transformers.pipeline("image-classification")` classifies them.

    Calling it returns for each image the likeliest classes, each a dict with `label`, `score` (its
    probability) and `maps`: the array of each method, as a tensor of the model's input or layer
    gives it.

    Args:
        model: an image classifier, its name, or an image classification pipeline.
        processor: its image processor; `None` loads the one of the name, or takes the pipeline's.
        methods: names, classes or objects, see :func:`torchattr.explain`.
        batch_size: number of images that run at once.
        device: where it runs; `None` leaves the model where it is.
        options: `layer`, `rules`, `skip_refused` and `memory` of :func:`torchattr.explain`.

    Raises:
        InputError: the model is no classifier, or has no image processor.
        PackageError: a name, and transformers is not installed.
    """

    def __init__(
        self,
        model: Any,
        processor: Any = None,
        methods: MethodLike | Sequence[MethodLike] = ("grad_cam",),
        *,
        batch_size: int = 1,
        device: Any = None,
        **options: Any,
    ) -> None:
        classifier, own = _parts(model)
        processor = processor if processor is not None else own
        if processor is None:
            raise InputError("processor is missing: pass the model's own, AutoImageProcessor's")
        if batch_size < 1:
            raise InputError(f"batch_size must be positive, got {batch_size}")
        self.loaded = classifier_of(
            classifier if device is None else classifier.to(device), processor
        )
        self._methods = methods
        self._batch_size = batch_size
        self._options = options

    def __call__(self, images: ImageLike | Sequence[ImageLike], top_k: int = 5) -> list[Any]:
        """Return the classes of an image, likeliest first; of several images, a list for each.

        Raises:
            ImageError: an image that cannot be read.
        """
        if isinstance(images, (str, Path, Image.Image)):
            return self([images], top_k)[0]
        found = []
        for start in range(0, len(images), self._batch_size):
            batch = [self._prepared(one) for one in images[start : start + self._batch_size]]
            found += self._classes(self._explained(batch, top_k))
        return found

    def panel(self, image: ImageLike, top_k: int = 1, cell: int = 256) -> Image.Image | None:
        """Draw an image with a row for each class and a column for each method.

        `None` if no method gives a map that can be drawn.

        Args:
            image: the image.
            top_k: number of classes.
            cell: the shorter side of each picture in the panel, in pixels.
        """
        prepared = self._prepared(image)
        explanation = self._explained([prepared], top_k)
        chances = [one["score"] for one in self._classes(explanation)[0]]
        subject = Subject("", prepared.original, prepared.box, chances)
        return entry_of(explanation, 0, subject, self.loaded.class_names, cell).picture

    def _prepared(self, image: ImageLike) -> PreparedImage:
        if isinstance(image, (str, Path)):
            return self.loaded.preprocess(read_image(image))
        if isinstance(image, Image.Image):
            return self.loaded.preprocess(as_rgb(image, "image"))
        raise InputTypeError(
            f"images must be paths or PIL images, got {type(image).__name__}; Image.fromarray makes"
            " one of an array"
        )

    def _explained(self, batch: Sequence[PreparedImage], top_k: int) -> Explanation:
        model = self.loaded.model
        device = next((one.device for one in model.parameters()), torch.device("cpu"))
        inputs = torch.stack([one.tensor for one in batch]).to(device)
        targets = TopK(min(top_k, len(self.loaded.class_names or ())))
        return with_rows(
            explain(model, inputs, self._methods, targets, output=OUTPUT, **self._options)
        )

    def _classes(self, explanation: Explanation) -> list[list[dict[str, Any]]]:
        """Return the classes of each image of a batch."""
        targets = explanation.targets
        if targets is None:
            return []
        scores = self.loaded.probabilities(explanation.output.detach()).gather(1, targets)
        return [
            [
                {
                    "label": self.loaded.class_name(int(targets[index, place])),
                    "score": float(scores[index, place]),
                    "maps": dict(_maps(explanation, index, place)),
                }
                for place in range(targets.shape[1])
            ]
            for index in range(len(targets))
        ]


def _maps(explanation: Explanation, index: int, place: int) -> Iterator[tuple[str, Any]]:
    for method in explanation:
        for name, values in flat(method, explanation[method]):
            yield name, array_of(values[index, place])


def _parts(model: Any) -> tuple[Any, Any]:
    """Return a classifier and its image processor, as far as they are known."""
    if hasattr(model, "image_processor"):
        return model.model, model.image_processor
    if not isinstance(model, str):
        return model, None
    try:
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ImportError as error:
        raise PackageError(
            f"a model's name needs transformers, which could not be imported ({error}); install it"
            " with: pip install transformers"
        ) from error
    classifier = AutoModelForImageClassification.from_pretrained(model)
    return classifier, AutoImageProcessor.from_pretrained(model)
