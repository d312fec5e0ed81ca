"""Jobs that look inside a model: feature maps, back-projections, CAMs of many layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torchattr.errors import InputError, NoRuleMatched
from torchattr.inspect import (
    BackProjector,
    Channels,
    Method,
    Rule,
    Start,
    check_position,
    feature_maps,
    layer_by_layer,
    spatial_calls,
)
from torchattr.results import (
    ACTIVATIONS,
    LAYERS,
    PROJECTIONS,
    groups_of,
    layers_entry,
    maps_entry,
    projection_entry,
)
from torchattr.runs.class_selector import Top, parse_targets
from torchattr.runs.job import (
    InputPicture,
    JobProgress,
    JobResult,
    Note,
    OutputGroups,
    PictureJob,
    Prediction,
    told_to,
)
from torchattr.runs.score_reader import ScoreReader


@dataclass(frozen=True, eq=False)
class ActivationsJob(PictureJob):
    """The feature maps of layers, as grids and raw.

    layers: names, patterns, or the codes `r`, `p` and `c`.
    channels: which maps; `None` for all.
    top: number of the strongest maps to keep.
    """

    layers: tuple[str, ...] = ("r",)
    channels: tuple[int, ...] = ()
    top: int | None = None

    def at(self, picture: InputPicture, progress: JobProgress) -> Iterator[JobResult]:
        model, inputs = self.loaded.model, picture.inputs
        shapes = spatial_calls(model, inputs, list(self.layers))
        _check_channels(self.channels, shapes)
        groups = groups_of(ACTIVATIONS, list(shapes))
        yield OutputGroups(tuple(groups.values()))
        maps = feature_maps(model, inputs, list(self.layers))
        for number, (name, group) in enumerate(groups.items()):
            yield maps_entry(
                maps,
                name,
                0,
                self.channels or None,
                None if self.top is None else min(self.top, shapes[name][0]),
                self.sight(picture),
                name=picture.name,
                group=group,
                index=picture.index,
                record=self.record(picture),
            )
            progress((number + 1) / len(groups))


@dataclass(frozen=True, eq=False)
class BackProjectionsJob(PictureJob):
    """Back-projections of feature maps: what in a picture excites them.

    layers: as for :class:`ActivationsJob`.
    channels, start, rule, rules: see :func:`torchattr.back_project`; `"top9"` means
        all maps of a layer that has fewer.
    crop: draw only the receptive fields, beside those of the picture.
    skip_refused: skip a model in which the rule matches nothing, instead of raising.
    """

    layers: tuple[str, ...]
    channels: Channels = "top9"
    start: Start = "max"
    rule: Rule = "deconvolution"
    rules: Mapping[str, str] = field(default_factory=dict)
    crop: bool = True
    skip_refused: bool = False

    def at(self, picture: InputPicture, progress: JobProgress) -> Iterator[JobResult]:
        model, inputs = self.loaded.model, picture.inputs
        shapes = spatial_calls(model, inputs, list(self.layers))
        _check_channels(self.channels, shapes)
        if isinstance(self.start, tuple):
            for shape in shapes.values():
                check_position(self.start, shape[1:])
        groups = groups_of(PROJECTIONS, list(shapes))
        yield OutputGroups(tuple(groups.values()))
        for number, (name, group) in enumerate(groups.items()):
            try:
                projector = BackProjector(
                    model, inputs, name, (self.rule,), rules=self.rules or None
                )
            except NoRuleMatched as reason:
                if not self.skip_refused:
                    raise
                yield Note(reason.message.after("back-projections are skipped: "))
                return
            with told_to(progress, number, len(groups)):
                found = projector.project(self._clipped(shapes[name][0]), self.start)
            yield projection_entry(
                found,
                0,
                self.crop,
                self.sight(picture),
                name=picture.name,
                group=group,
                index=picture.index,
                record=self.record(picture),
            )
            progress((number + 1) / len(groups))

    def _clipped(self, count: int) -> Channels:
        """Return the channels, with the number of strongest maps limited to `count`."""
        if not isinstance(self.channels, str) or not self.channels[3:].isdecimal():
            return self.channels
        return f"top{min(int(self.channels[3:]), count)}"


@dataclass(frozen=True, eq=False)
class LayerGridsJob(PictureJob):
    """Grad-CAM and Guided Grad-CAM of many layers, a grid for each class and method.

    layers: names or patterns; empty for all convolutions.
    methods: `grad_cam`, `guided_grad_cam`.
    targets: as for explanations; empty for the best class.
    rules: additional rules for the guided part.
    output: the entry of the model's output that holds the scores.
    """

    layers: tuple[str, ...] = ()
    methods: tuple[Method, ...] = ("grad_cam",)
    targets: tuple[str, ...] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    output: str | int | None = None

    def at(self, picture: InputPicture, progress: JobProgress) -> Iterator[JobResult]:
        reader = ScoreReader(self.loaded, self.output)
        wanted = parse_targets(self.targets, self.loaded.class_names) or [Top(1)]
        answer = reader.answer(picture.inputs)
        targets = answer.chosen(wanted)
        yield Prediction(picture.path, answer, targets)
        if answer.note:
            yield Note(answer.note)
        jobs = self._jobs(targets)
        yield OutputGroups(tuple(jobs))
        for number, (group, (method, target)) in enumerate(jobs.items()):
            found = layer_by_layer(
                self.loaded.model,
                picture.inputs,
                list(self.layers) or None,
                method,
                target,
                rules=self.rules or None,
                output=reader.scores,
            )
            yield layers_entry(
                found,
                0,
                self.loaded.class_name(target),
                self.sight(picture),
                name=picture.name,
                group=group,
                index=picture.index,
                record=self.record(picture),
            )
            progress((number + 1) / len(jobs))

    def _jobs(self, targets: list[int]) -> dict[str, tuple[Method, int]]:
        """Return the method and the class of each group."""
        names = [self.loaded.class_name(target) for target in targets]
        return {
            group: (method, target)
            for method in self.methods
            for group, target in zip(
                groups_of(f"{LAYERS}/{method}", names).values(), targets, strict=True
            )
        }


def _check_channels(channels: Channels, shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse a channel that is out of range for any layer, before anything is written."""
    for name, shape in shapes.items():
        for channel in channels if isinstance(channels, tuple) else ():
            if not 0 <= channel < shape[0]:
                raise InputError(
                    f"channel {channel} is out of range for the layer {name!r}, whose maps are 0 to"
                    f" {shape[0] - 1}"
                )
