"""What the process that begins a run finds out from one picture: shapes, layers, batch size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchattr.bulk.explaining import BatchExplainer
from torchattr.bulk.reading import PicturesToRead, ReadPicture
from torchattr.bulk.record import Resolved
from torchattr.bulk.settings import BulkSettings
from torchattr.bulk.sources import Pictures
from torchattr.bulk.target_columns import TargetColumns
from torchattr.core.gradient_mode import gradients
from torchattr.core.printable import printable
from torchattr.core.warn import warn
from torchattr.errors import Hint, ImageError, LayerChoiceWarning
from torchattr.methods import Footprint, fitting, has_fixed_batch
from torchattr.models import LoadedModel
from torchattr.runs import ExplainPlan, device_of

_TRIED = 100
"""Pictures that are tried until one can be read."""


def planned(loaded: LoadedModel, settings: BulkSettings) -> tuple[ExplainPlan, TargetColumns]:
    """Return the methods and targets of a run, after all checks that need no picture.

    Raises:
        RuleError: an unknown method, operation or rule.
        LayerError: an unknown layer.
        TargetError: an unknown target, or one that a run cannot have.
    """
    columns = TargetColumns.of(settings.targets, loaded.class_names)
    return ExplainPlan.of(loaded, settings.explain), columns


def explainer_of(
    plan: ExplainPlan, columns: TargetColumns, settings: BulkSettings, resolved: Resolved
) -> BatchExplainer:
    """Return what explains batches, with the layers that the run was begun with."""
    plan.layers = list(resolved.layers)
    return BatchExplainer(plan, settings, columns, resolved.activation)


def resolved_by_probe(
    plan: ExplainPlan, columns: TargetColumns, settings: BulkSettings, source: Pictures
) -> Resolved:
    """Explain the first picture that can be read, and return what follows for all others.

    Raises:
        ImageError: none of the first pictures can be read.
        TorchattrError: the model, a method or a target does not fit.
    """
    probe = _Probe.of(source, plan.loaded)
    answer = plan.reader.answer(probe.inputs)
    columns.check(answer.probabilities)
    _choose_layer(plan, probe.inputs)
    explainer = BatchExplainer(plan, settings, columns, plan.reader.activation(answer))
    found = explainer.explained(probe.inputs, [probe.id], [probe.label])
    arrays = {name: tuple(maps.values.shape[1:]) for name, maps in found.maps.items()}
    needed = sum(maps.values.numel() for maps in found.maps.values()) * 4
    device = probe.inputs.device
    return Resolved(
        tuple(probe.inputs.shape[1:]),
        arrays,
        tuple(columns.names),
        tuple(plan.layers),
        explainer.activation,
        settings.batch_size or _fitting(plan.loaded, probe.inputs, needed, settings.shard_size),
        torch.get_num_threads() if device.type == "cpu" else None,
    )


def _choose_layer(plan: ExplainPlan, inputs: Tensor) -> None:
    if plan.needs_layer:
        layer = plan.choose_layer(inputs)
        warn("no layer given; using {setting}", LayerChoiceWarning, Hint("layer", layer))


@dataclass(frozen=True, eq=False)
class _Probe:
    """The picture that is explained first."""

    id: str
    label: int
    inputs: Tensor

    @classmethod
    def of(cls, source: Pictures, loaded: LoadedModel) -> _Probe:
        reading, ids = PicturesToRead(source, loaded), source.ids()
        first = ReadPicture()
        for position in range(min(len(ids), _TRIED)):
            _, read = reading[position]
            if read.inputs is not None:
                # Any class will do: shapes do not depend on it.
                label = source.label(position) or 0
                return cls(ids[position], label, read.inputs[None].to(device_of(loaded)))
            first = first if first.reason else read
        raise ImageError(
            printable(
                f"none of the first {min(len(ids), _TRIED)} pictures can be read; the first,"
                f" {ids[0]!r}: {first.reason}"
            )
        )


def _fitting(loaded: LoadedModel, inputs: Tensor, further: int, most: int) -> int:
    """Return how many pictures to explain at once: a power of two, as much as memory allows.

    Args:
        loaded: the model.
        inputs: one picture.
        further: bytes of its maps.
        most: the number of pictures in a shard.
    """
    if has_fixed_batch(loaded.model):
        return 1
    footprint = Footprint()
    with gradients(False):
        footprint.around(loaded.model)(inputs)
    needed = footprint.bytes_with_graph + further
    fits = min(fitting(needed, footprint, 1, inputs.device), most)
    return 1 << (fits.bit_length() - 1)
