"""One forward, kept for any number of back-projections of a layer's maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from tqdm.auto import tqdm

from torchattr.core.arguments import check_choice, plain_numbers
from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.outputs import any_output
from torchattr.core.select import find_layers, is_pattern, layer_names
from torchattr.core.stepping import counted
from torchattr.core.types import Forward, Layer, Tensors
from torchattr.errors import InputError, LayerError
from torchattr.inspect.back_projection.local_conv import LocalConv, bounding_box
from torchattr.inspect.back_projection.result import BackProjection, Fields
from torchattr.inspect.back_projection.seeds import Channels, Seeds, Start
from torchattr.inspect.map_layout import maps_of
from torchattr.inspect.receptive_field import REACH, marked
from torchattr.inspect.recording.recording import Recording
from torchattr.layers import (
    Captured,
    RuleTable,
    TapPoint,
    Trace,
    nodes_of,
    rule_table,
)
from torchattr.methods import (
    Calls,
    Deconvolution,
    GuidedBackprop,
    LayerChoice,
    has_fixed_batch,
    last_call,
    repeat_arguments,
    repeat_rows,
)

Rule = Literal["deconvolution", "guided", "gradient"]

RULES: Mapping[Rule, Mapping[str, Any]] = {
    "deconvolution": Deconvolution.rules,
    "guided": GuidedBackprop.rules,
    "gradient": {},
}
"""The rules of each kind of back-projection."""

ACCELERATOR_CHUNK = 16
"""Number of maps per backward on devices where that is faster than one by one."""


class BackProjector:
    """One forward, kept for any number of back-projections of a layer's maps.

    Use it for many maps, starts or rules of the same inputs, as a viewer does; :func:`back_project`
    is the same for one of each.

    Args:
        model: the model; it is not modified.
        inputs: a tensor `(N, C, ...)`, or a tuple of tensors of which the first is spatial.
        layer: the name of the layer, or the module; or the name of a functional operation,
            or of one call (`"block.relu#2"`), see :func:`feature_maps`.
        kinds: the rules that may be requested: `"deconvolution"`, `"guided"`, `"gradient"`.
        calls: which call of a layer that is called several times to use: `"last"` (the default,
            with a warning), `"first"` or `"each"`.
        rules: additional rules for the first two, such as `{"gelu": "guided"}`.
        strict: whether rules that match nothing raise or only warn.
        additional_forward_args: additional positional arguments of the forward.
        chunk: number of maps per backward. The forward runs on that many copies of the inputs, so
            memory grows with it. `None` uses 1 on a CPU and 16 elsewhere.

    Attributes:
        shape: of the feature maps, `(N, channels, spatial...)`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> projector = ta.BackProjector(model, torch.rand(1, 3, 8, 8), "1")
    >>> projector.project([0, 2], start="map").pictures.shape
    torch.Size([1, 2, 3, 8, 8])
    """

    def __init__(
        self,
        model: Forward,
        inputs: Tensors,
        layer: Layer,
        kinds: Sequence[Rule] = ("deconvolution",),
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        strict: bool = True,
        additional_forward_args: Any = None,
        chunk: int | None = None,
    ) -> None:
        if calls == "sum":
            raise InputError(
                "calls='sum' has no meaning here, since each call has its own positions; use"
                " calls='each' and add the pictures"
            )
        self._kinds: list[Rule] = [_checked(kind) for kind in kinds]
        self._lock = Lock()
        self._inputs = as_inputs(inputs)
        self._batch = self._inputs.batch_size
        self._copies = _copies(model, self._inputs.tensors[0], chunk)
        arguments = as_arguments(additional_forward_args)
        tables = [
            rule_table({**RULES[kind], **((rules or {}) if kind != "gradient" else {})})
            for kind in self._kinds
        ]
        self._name, self._trace, ran = _run(
            model,
            layer,
            [repeat_rows(tensor, self._copies) for tensor in self._inputs.tensors],
            repeat_arguments(arguments, self._copies, self._batch),
            [*tables, *({**table, "conv": LocalConv()} for table in tables), REACH],
        )
        self._values = self._maps(ran)
        for kind, table in zip(self._kinds, tables, strict=True):
            self._trace.coverage.demand(table, f"back-projection ({kind})", strict=strict)
        choice = LayerChoice(model, None, calls)
        self.calls: int | tuple[int, ...] = choice.pick(self._name, range(len(self._values)))

    @property
    def shape(self) -> torch.Size:
        values = self._values[-1]
        return torch.Size((self._batch, *values.shape[1:]))

    def project(
        self,
        channels: Channels = None,
        start: Start = "max",
        rule: Rule | None = None,
        *,
        call: int | None = None,
        fields: bool = True,
        progress: bool = False,
    ) -> BackProjection:
        """Return the pictures of several maps; see :func:`back_project`.

        Args:
            channels: see :func:`back_project`.
            start: see :func:`back_project`.
            rule: one of `kinds`; `None` uses the first.
            call: which call of the layer; `None` uses the one chosen by `calls`.
            fields: whether to find the receptive field of each start.
            progress: show a progress bar on stderr.
        """
        pieces = list(
            self.stream(channels, start, rule, call=call, fields=fields, progress=progress)
        )
        return BackProjection.joined(pieces)

    def stream(
        self,
        channels: Channels = None,
        start: Start = "max",
        rule: Rule | None = None,
        *,
        call: int | None = None,
        fields: bool = True,
        progress: bool = False,
    ) -> Iterator[BackProjection]:
        """Yield the same in pieces of `chunk` maps, so that memory stays bounded."""
        kind = self._kinds[0] if rule is None else rule
        if kind not in self._kinds:
            raise InputError(
                f"rule must be one of {', '.join(map(repr, self._kinds))}, which this forward was"
                f" prepared for, got {kind!r}"
            )
        live = self._values[self._call(call)]
        starts = Seeds.chosen(live.detach()[: self._batch], channels, start)
        # Asking a GPU where the signal is takes longer than processing all of it.
        local = starts.positions is not None and live.device.type == "cpu"
        table = self._kinds.index(kind) + local * len(self._kinds)
        pictures = self._pictures(starts, live, table, progress)
        (seen, *_) = (tensor.detach() for tensor in self._inputs.tensors)
        return (
            BackProjection(
                picture,
                s.channels,
                s.activations,
                s.positions,
                self._name,
                start,
                kind,
                seen,
                self._fields(live, s) if fields else None,
            )
            for s, picture in pictures
        )

    def _pictures(
        self, starts: Seeds, live: Tensor, table: int, progress: bool
    ) -> Iterator[tuple[Seeds, Tensors]]:
        total = starts.channels.shape[1]
        bar = tqdm(total=total, desc="back-projection", disable=not progress)
        with bar, counted(total) as begin:
            for first in range(0, total, self._copies):
                some = starts.columns(first, first + self._copies)
                count = some.channels.shape[1]
                begin(first, first + count)
                yield some, self._inputs.restore(self._back(live, some, table))
                bar.update(count)

    def _back(self, live: Tensor, starts: Seeds, table: int) -> list[Tensor]:
        # The caller may be in inference mode, whose tensors autograd does not accept.
        with gradients():
            signal = starts.signal(live.detach()[: self._batch], self._copies)
            scores = (live * signal).flatten(1).sum(1)
        # The active rules are a state of the trace, so one backward runs at a time.
        with self._lock:
            found = self._trace.gradients(scores, self._trace.input_edges, table=table)
        if all(gradient is None for gradient in found):
            raise LayerError(f"the layer {self._name!r} does not depend on the inputs")
        count = starts.channels.shape[1]
        return [
            self._arranged(gradient, like, count)
            for gradient, like in zip(found, self._inputs.tensors, strict=True)
        ]

    def _fields(self, live: Tensor, starts: Seeds) -> Fields | None:
        """Return the receptive fields of the starts of each example."""
        if starts.positions is None:
            return None
        rows = range(self._batch)
        found = []
        for positions in starts.positions.unbind(1):
            # Numbers: autograd does not keep tensors that were made in inference mode.
            index = [(row, slice(None), *place) for row, place in enumerate(positions.tolist())]
            with gradients():
                scores = marked(torch.stack([live[one] for one in index]))
            with self._lock:
                table = 2 * len(self._kinds)
                (marks,) = self._trace.gradients(scores, self._trace.input_edges[:1], table=table)
            found.append([None if marks is None else bounding_box(marks[row]) for row in rows])
        return tuple(zip(*found, strict=True))

    def _arranged(self, gradient: Tensor | None, like: Tensor, count: int) -> Tensor:
        """Rearrange copies of the batch `(copies · N, ...)` into `(N, count, ...)`."""
        if gradient is None:
            return like.new_zeros(self._batch, count, *like.shape[1:])
        copies = gradient.reshape(self._copies, self._batch, *like.shape[1:])
        return copies[:count].transpose(0, 1)

    def _maps(self, ran: Sequence[Captured]) -> list[Tensor]:
        given = [repeat_rows(tensor, self._copies) for tensor in self._inputs.tensors]
        for call in ran:
            for value in call.values:
                self._trace.coverage.inspect(nodes_of(value))
        # The caller may be in inference mode, whose views autograd does not follow.
        with gradients():
            return [maps_of(self._name, call, given) for call in ran]

    def _call(self, call: int | None) -> int:
        if call is not None:
            return call
        if isinstance(self.calls, tuple):
            raise InputError("calls='each' needs the number of a call: project(..., call=0)")
        return self.calls


def _checked(kind: Rule) -> Rule:
    check_choice("rule", kind, get_args(Rule))
    return kind


def _copies(model: Forward, tensor: Tensor, chunk: int | None) -> int:
    if chunk is None:
        alone = tensor.device.type == "cpu" or has_fixed_batch(model)
        return 1 if alone else ACCELERATOR_CHUNK
    chunk = plain_numbers(chunk)
    if not isinstance(chunk, int) or chunk < 1:
        raise InputError(f"chunk must be a whole number of maps from 1, got {chunk!r}")
    return chunk


def _run(
    model: Forward,
    layer: Layer,
    inputs: Sequence[Tensor],
    arguments: Sequence[Any],
    tables: Sequence[RuleTable],
) -> tuple[str, Trace, Sequence[Captured]]:
    """Run the model once; return the layer's name, the trace, and all calls of the layer.

    Raises:
        LayerError: an unknown layer, one that did not run, or several.
    """
    if not isinstance(layer, str) or layer in layer_names(model) or is_pattern(layer):
        name, module = _single(find_layers(model, layer))
        tap = TapPoint(module, with_layout=True)
        trace = Trace(model, inputs, arguments, tables=tables, taps=[tap], key=any_output)
        last_call(trace, tap)
        return name, trace, trace.calls(tap)
    recording = Recording(model, inputs, arguments, layer, tables)
    name, calls = _single(recording.calls)
    return name, recording.trace, calls


def _single(named: Mapping[str, Any]) -> tuple[str, Any]:
    if len(named) != 1:
        raise LayerError(f"layer must name one layer, but it names {', '.join(named)}")
    return next(iter(named.items()))
