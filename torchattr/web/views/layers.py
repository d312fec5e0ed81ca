"""The layers of the model, their feature maps, and back-projections of these."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from torchattr.core.pytree import tensors_of
from torchattr.core.select import layer_names
from torchattr.core.stepping import step
from torchattr.core.undoing import undone
from torchattr.errors import Hint, InputError, LayerError, NoRuleMatched, WayOut
from torchattr.inspect import (
    CODES,
    BackProjection,
    BackProjector,
    FeatureMaps,
    Rule,
    Start,
    feature_maps,
)
from torchattr.inspect import list_layers as module_rows
from torchattr.layers import Layout, enter_mode
from torchattr.methods import Footprint
from torchattr.show import Color
from torchattr.web.panels.parts import Map
from torchattr.web.panels.scene import Scene
from torchattr.web.state.stored import StoredFeatureMaps

RULES: tuple[Rule, ...] = ("deconvolution", "guided", "gradient")
SIGNAL = Color(99.8, meaning="lowers (dark) to raises (bright) the map; mid grey is zero")


@dataclass(frozen=True)
class LayerEntry:
    """A layer as the page lists it.

    Attributes:
        name: name of the module or operation.
        type: class of the module, or `operation`.
        shape: output shape of its last call, without the batch; `None` if the output is not a
            tensor, or its first dimension is not the batch.
        calls: number of calls in a forward.
        maps: shape of its feature maps, `(channels, h, w)`, if it has any.
        why: reason why it has none.
        module: whether it is a module; a functional operation has feature maps, but no class
            activation maps.
    """

    name: str
    type: str
    shape: tuple[int, ...] | None
    calls: int
    maps: tuple[int, ...] | None = None
    why: str = ""
    module: bool = True

    @property
    def has_maps(self) -> bool:
        return self.maps is not None and len(self.maps) == 3 and 0 not in self.maps

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "depth": self.name.count("."), "has_maps": self.has_maps}


def layer_entries(scene: Scene) -> list[LayerEntry]:
    """Return all layers, and the functional operations with feature maps, in execution order."""
    entries = [
        LayerEntry(row.name, row.type, _of_one(row.shape, scene), row.calls, row.maps, row.why)
        for row in module_rows(scene.loaded.model, scene.inputs)
    ]
    for operation in _operations(scene):
        owner = operation.name.rpartition(".")[0]
        entries.insert(_end(entries, owner), operation)
    return entries


def _of_one(shape: tuple[int, ...] | None, scene: Scene) -> tuple[int, ...] | None:
    """Return the shape without the batch, unless frames or windows are in the batch dimension."""
    return shape[1:] if shape and shape[0] == len(scene.inputs) else None


def default_layer(scene: Scene) -> str | None:
    """Return the last layer with spatial dimensions, if there is one."""
    try:
        return scene.default_layer
    except LayerError:
        return None


def _operations(scene: Scene) -> list[LayerEntry]:
    modules, entries = layer_names(scene.loaded.model), []
    for code in CODES:
        step()
        try:
            maps = feature_maps(scene.loaded.model, scene.inputs, code)
        except LayerError:
            continue
        entries += [_operation(maps, name, scene) for name in maps if name not in modules]
    return entries


def _operation(maps: FeatureMaps, name: str, scene: Scene) -> LayerEntry:
    calls, layout = maps.calls[name], maps.layouts[name][-1]
    is_grid = isinstance(layout, Layout) and bool(layout.sizes)
    return LayerEntry(
        name,
        "operation",
        _of_one(tuple(tensors_of(calls[-1])[0].shape), scene),
        len(calls),
        tuple(maps.as_maps(name, call=len(calls)).shape[1:]) if is_grid else None,
        layout if isinstance(layout, str) else "" if is_grid else "it has no spatial dimensions",
        module=False,
    )


def _end(entries: list[LayerEntry], owner: str) -> int:
    """Return the index after a module and its submodules."""
    inside = (i for i, e in enumerate(entries) if e.name == owner or e.name.startswith(f"{owner}."))
    return max(inside, default=len(entries) - 1) + 1


def record_feature_maps(scene: Scene, layer: str, call: int) -> StoredFeatureMaps:
    """Record the feature maps of a layer, in one of its calls, counted from 1.

    Raises:
        LayerError: the layer is unknown, ambiguous or without feature maps.
        InputError: the layer has fewer calls.
    """
    recorded = feature_maps(scene.loaded.model, scene.inputs, layer)
    if len(recorded) != 1:
        raise LayerError(f"{layer!r} matches {len(recorded)} layers; name one of them")
    (name,) = recorded
    _check_call(call, len(recorded.calls[name]), name)
    maps = recorded.as_maps(name, call=call)
    if maps.dim() != 4:
        raise LayerError(f"layer {name!r} has no feature maps (C, h, w)")
    array = maps[0].float().cpu().numpy()
    return StoredFeatureMaps(f"{name} maps", name, np.ascontiguousarray(array))


@dataclass(frozen=True, eq=False)
class ProjectionPair:
    """A feature map projected back from one position, and as a whole.

    Attributes:
        from_position: back-projection from one position.
        whole: back-projection of the whole map.
        position: row and column of the former.
        activation: value at the position.
        strongest: largest value of the map.
    """

    from_position: Map
    whole: Map
    position: tuple[int, ...]
    activation: float
    strongest: float


class ProjectorCache:
    """Keeps recent forward passes, so that another map, position or rule needs a backward only.

    Args:
        limit: number of forward passes to keep.
        limit_bytes: their total memory; a larger forward pass is used once and dropped.
    """

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit, self._limit_bytes = limit, limit_bytes
        self._kept: OrderedDict[tuple[Any, ...], tuple[BackProjector, int]] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Upper bound on the memory held: all tensors created in the forward passes."""
        return sum(size for _, size in self._kept.values())

    def project(
        self,
        scene: Scene,
        key: str,
        layer: str,
        channel: int,
        position: tuple[int, int] | None,
        rule: Rule,
        call: int,
    ) -> ProjectionPair:
        """Project a map back from a position or its maximum, and as a whole.

        Args:
            key: identifies the picture and the model.

        Raises:
            LayerError, InputError, ShapeError, NoRuleMatched: see :class:`BackProjector`.
        """
        projector = self._projector(scene, key, layer, rule)
        calls = projector.calls
        _check_call(call, len(calls) if isinstance(calls, tuple) else 1, layer)
        start: Start = "max" if position is None else position
        if channel < 0:
            raise InputError(f"channel must be 0 or more, got {channel}")
        single = projector.project(channel, start, rule, call=call - 1)
        whole = projector.project(channel, "map", rule, call=call - 1)
        found = () if single.positions is None else tuple(single.positions[0, 0].tolist())
        name = f"{layer}, map {channel}, {rule}"
        return ProjectionPair(
            _as_map(single, f"{name}, from {'its maximum' if position is None else found}"),
            _as_map(whole, f"{name}, whole map"),
            found,
            float(single.activations[0, 0]),
            float(whole.activations[0, 0]),
        )

    def _projector(self, scene: Scene, key: str, layer: str, rule: Rule) -> BackProjector:
        def prepare(rules: tuple[Rule, ...]) -> BackProjector:
            return BackProjector(scene.loaded.model, scene.inputs, layer, rules, calls="each")

        try:
            return self._keep((key, layer, RULES), lambda: prepare(RULES))
        except NoRuleMatched as error:
            # The gradient needs no rule, so it is available for models without a ReLU.
            if rule != "gradient":
                advice = Hint(ways_out=[WayOut("choose the rule 'gradient' to see that")])
                raise NoRuleMatched(error.message.text, hint=advice) from error
            return self._keep((key, layer, rule), lambda: prepare((rule,)))

    def _keep(self, key: tuple[Any, ...], make: Callable[[], BackProjector]) -> BackProjector:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        footprint = Footprint()
        with undone() as undo:
            enter_mode(undo, footprint)
            projector = make()
        self._kept[key] = projector, footprint.total
        while len(self._kept) > self._limit or self.nbytes > self._limit_bytes:
            self._kept.popitem(last=False)
        return projector


def _as_map(projection: BackProjection, title: str) -> Map:
    pictures = projection.pictures
    picture = pictures[0] if isinstance(pictures, tuple) else pictures
    values = picture[0, 0].float().cpu().numpy()
    coloured = len(values) in (1, 3)
    return Map(np.ascontiguousarray(values), title, SIGNAL if coloured else "signed_heat")


def _check_call(call: int, count: int, layer: str) -> None:
    if not 1 <= call <= count:
        raise InputError(f"call must be within 1..{count} for layer {layer!r}, got {call}")
