"""What is shown of a model without a user's picture: its summary and its kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from torchattr.core.select import find_layers, is_pattern, layer_names
from torchattr.errors import LayerError
from torchattr.inspect import CODES, Kernels, Summary, conv_kernels, spatial_calls, summary
from torchattr.models import LoadedModel, example
from torchattr.results import (
    SUMMARY,
    Entry,
    Sight,
    distinct_names,
    file_name,
    kernels_entry,
    model_title,
)
from torchattr.runs.job import (
    InputPicture,
    JobProgress,
    JobResult,
    OutputGroups,
    PictureJob,
    device_of,
    made_by,
)
from torchattr.show import LIGHT, FigureHead, Look


def example_input(loaded: LoadedModel) -> Tensor:
    """Return a batch with one preprocessed example picture, on the model's device."""
    tensor = loaded.preprocess(example(loaded.examples[0])).tensor
    return tensor[None].to(device_of(loaded))


def summary_entry(loaded: LoadedModel, result: Summary) -> Entry:
    """Return the entry of a summary, as text and as HTML."""
    return Entry(
        SUMMARY,
        None,
        {},
        made_by(loaded),
        title=f"Summary of {loaded.name}",
        text=str(result),
        markup=result._repr_html_(),
        subject="Model",
    )


@dataclass(frozen=True, eq=False)
class SummaryJob(PictureJob):
    """The summary of the model, once for all pictures.

    depth: see :func:`torchattr.summary`.
    """

    depth: int | None = None
    _done: list[str] = field(default_factory=list, init=False)

    def at(self, picture: InputPicture, progress: JobProgress) -> Iterator[JobResult]:
        yield OutputGroups((), (SUMMARY,))
        if not self._done:
            self._done.append(picture.name)
            found = summary(self.loaded.model, picture.inputs, depth=self.depth)
            yield summary_entry(self.loaded, found)


def kernels_of(
    loaded: LoadedModel,
    layers: Sequence[str],
    output_channels: Sequence[int] | None,
    input_channels: Sequence[int] | None,
) -> Iterator[Kernels]:
    """Yield the kernels of convolutions by name, pattern or the code `c`; by default, of all.

    Raises:
        LayerError: a layer that is not a convolution.
        InputError: a channel out of range.
    """
    for name in _convolutions(loaded.model, layers or ["c"]):
        # Kernels that belong to no module are seen only in a forward.
        inputs = None if name in layer_names(loaded.model) else example_input(loaded)
        yield conv_kernels(
            loaded.model,
            name,
            inputs,
            output_channels=output_channels,
            input_channels=input_channels,
        )


def kernel_entries(
    loaded: LoadedModel,
    per_layer: Sequence[Kernels],
    drawn: Mapping[str, Any],
    settings: Mapping[str, Any],
    look: Look = LIGHT,
) -> Iterator[Entry]:
    """Yield an entry for the kernels of each layer. drawn, look: see :meth:`Kernels.draw`."""
    sight = Sight(FigureHead(model_title(loaded.name, settings.get("weights"))), look)
    names = kernel_names(per_layer)
    for index, (name, kernels) in enumerate(zip(names, per_layer, strict=True)):
        record = {**made_by(loaded), "settings": dict(settings)}
        yield kernels_entry(kernels, drawn, sight, name=name, index=index, record=record)


def kernel_names(per_layer: Sequence[Kernels]) -> list[str]:
    """Return the entry names of kernels, one per layer."""
    return distinct_names([file_name(kernels.layer) for kernels in per_layer])


def has_convolutions(loaded: LoadedModel) -> bool:
    """Whether the model has convolutional layers."""
    return any(map(_is_convolution, loaded.model.modules()))


def some_convolutions(loaded: LoadedModel, most: int) -> list[str]:
    """Choose convolutions that stand for a model: the last one of each resolution.

    Of a model with fewer than three resolutions, any; of more than `most`, some spaced evenly, with
    the first and the last.

    Raises:
        LayerError: the model runs none with spatial dimensions.

    >>> from torchattr.models import load_model
    >>> some_convolutions(load_model("demo"), 3)
    ['stem.conv', 'stage1.1.conv2', 'stage3.0.shortcut.0']
    """
    shapes = spatial_calls(loaded.model, example_input(loaded), "c")
    names = list(shapes)
    lasts = [
        name
        for name, following in zip(names, [*names[1:], None], strict=True)
        if following is None or shapes[name][1:] != shapes[following][1:]
    ]
    found = lasts if len(lasts) > 2 else names
    step = (len(found) - 1) / max(most - 1, 1)
    return found if len(found) <= most else [found[round(step * k)] for k in range(most)]


def _convolutions(model: nn.Module, layers: Sequence[str]) -> list[str]:
    names: dict[str, None] = {}
    for layer in layers:
        if layer == "c" or is_pattern(layer):
            fitting = find_layers(model, nn.Module if layer in CODES else layer)
            convolutions = [name for name, module in fitting.items() if _is_convolution(module)]
            if not convolutions:
                raise LayerError(
                    f"the layer {layer!r} matches no convolution, so it has no kernels"
                )
            names.update(dict.fromkeys(convolutions))
        else:
            names[layer] = None
    return list(names)


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvNd)
