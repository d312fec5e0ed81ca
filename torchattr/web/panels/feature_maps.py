"""Layers, their feature maps, and what these respond to in the picture."""

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
        name: what selects it.
        type: its class, or what operation it is.
        shape: what its last call gave, without the batch; `None` if that was no tensor, or none
            whose first dimension is the batch.
        calls: how often it ran.
        maps: the shape of its feature maps, `(channels, h, w)`, if it has any.
        why: why it has none.
        module: whether it is a layer; a functional operation has maps, too, but no class activation
            maps.
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

    def described(self) -> dict[str, Any]:
        return {**asdict(self), "depth": self.name.count("."), "has_maps": self.has_maps}


def layer_entries(scene: Scene) -> list[LayerEntry]:
    """Give all layers, and the functional operations that have feature maps, in their order."""
    entries = [
        LayerEntry(row.name, row.type, _of_one(row.shape, scene), row.calls, row.maps, row.why)
        for row in module_rows(scene.loaded.model, scene.inputs)
    ]
    for operation in _operations(scene):
        owner = operation.name.rpartition(".")[0]
        entries.insert(_end(entries, owner), operation)
    return entries


def _of_one(shape: tuple[int, ...] | None, scene: Scene) -> tuple[int, ...] | None:
    """Give the shape for one example; frames or windows in place of the batch have none."""
    return shape[1:] if shape and shape[0] == len(scene.inputs) else None


def default_layer(scene: Scene) -> str | None:
    """Give the last layer with places, if there is one."""
    try:
        return scene.default_layer
    except LayerError:
        return None


def _operations(scene: Scene) -> list[LayerEntry]:
    named, found = layer_names(scene.loaded.model), []
    for code in CODES:
        step()
        try:
            maps = feature_maps(scene.loaded.model, scene.inputs, code)
        except LayerError:
            continue
        found += [_operation(maps, name, scene) for name in maps if name not in named]
    return found


def _operation(maps: FeatureMaps, name: str, scene: Scene) -> LayerEntry:
    calls, layout = maps.calls[name], maps.layouts[name][-1]
    is_grid = isinstance(layout, Layout) and bool(layout.sizes)
    return LayerEntry(
        name,
        "operation",
        _of_one(tuple(tensors_of(calls[-1])[0].shape), scene),
        len(calls),
        tuple(maps.as_maps(name, call=len(calls)).shape[1:]) if is_grid else None,
        layout if isinstance(layout, str) else "" if is_grid else "it has no places",
        module=False,
    )


def _end(entries: list[LayerEntry], owner: str) -> int:
    """Give the position behind a layer and all its parts."""
    inside = (i for i, e in enumerate(entries) if e.name == owner or e.name.startswith(f"{owner}."))
    return max(inside, default=len(entries) - 1) + 1


def features(scene: Scene, layer: str, call: int) -> StoredFeatureMaps:
    """Record the maps of a layer, in the call of that number, from 1.

    Raises:
        LayerError: an unknown layer, or one without maps.
        InputError: a call that there was not.
    """
    found = feature_maps(scene.loaded.model, scene.inputs, layer)
    if len(found) != 1:
        raise LayerError(f"{layer!r} means {len(found)} layers; name one of them")
    (name,) = found
    _check_call(call, len(found.calls[name]), name)
    maps = found.as_maps(name, call=call)
    if maps.dim() != 4:
        raise LayerError(f"the layer {name!r} has no feature maps (C, h, w) to show")
    array = maps[0].float().cpu().numpy()
    return StoredFeatureMaps(f"{name} maps", name, np.ascontiguousarray(array))


@dataclass(frozen=True, eq=False)
class Projected:
    """A map sent back to the picture twice: from one place, and as a whole."""

    place: Map
    whole: Map
    position: tuple[int, ...]
    activation: float
    strongest: float


class Projectors:
    """The last few forwards, so that one more map, place or rule needs only its way back.

    Args:
        most: how many are kept.
        most_bytes: what they hold together; a larger one is used and not kept.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[tuple[Any, ...], tuple[BackProjector, int]] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes that the forwards hold, at most: all that was made on the way."""
        return sum(size for _, size in self._kept.values())

    def project(
        self,
        scene: Scene,
        key: str,
        layer: str,
        channel: int,
        place: tuple[int, int] | None,
        rule: Rule,
        call: int,
    ) -> Projected:
        """Send a map back from its maximum or a place, and as a whole.

        Args:
            key: what tells pictures apart.

        Raises:
            LayerError, InputError, ShapeError, NoRuleMatched: see :class:`BackProjector`.
        """
        projector = self._projector(scene, key, layer, rule)
        calls = projector.calls
        _check_call(call, len(calls) if isinstance(calls, tuple) else 1, layer)
        start: Start = "max" if place is None else place
        if channel < 0:
            raise InputError(f"channel must be 0 or more, got {channel}")
        at = projector.project(channel, start, rule, call=call - 1)
        whole = projector.project(channel, "map", rule, call=call - 1)
        position = () if at.positions is None else tuple(at.positions[0, 0].tolist())
        name = f"{layer}, map {channel}, {rule}"
        return Projected(
            _drawn(at, f"{name}, from {'its maximum' if place is None else f'place {position}'}"),
            _drawn(whole, f"{name}, whole map"),
            position,
            float(at.activations[0, 0]),
            float(whole.activations[0, 0]),
        )

    def _projector(self, scene: Scene, key: str, layer: str, rule: Rule) -> BackProjector:
        def prepare(kinds: tuple[Rule, ...]) -> BackProjector:
            return BackProjector(scene.loaded.model, scene.inputs, layer, kinds, calls="each")

        try:
            return self._keep((key, layer, RULES), lambda: prepare(RULES))
        except NoRuleMatched as error:
            # The gradient needs no rule, so it is there for models without any ReLU.
            if rule != "gradient":
                advice = Hint(ways_out=[WayOut("choose the rule 'gradient' to see that")])
                raise NoRuleMatched(error.message.text, hint=advice) from error
            return self._keep((key, layer, rule), lambda: prepare((rule,)))

    def _keep(self, key: tuple[Any, ...], make: Callable[[], BackProjector]) -> BackProjector:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        made = Footprint()
        with undone() as undo:
            enter_mode(undo, made)
            projector = make()
        self._kept[key] = projector, made.total
        while len(self._kept) > self._most or self.nbytes > self._most_bytes:
            self._kept.popitem(last=False)
        return projector


def _drawn(found: BackProjection, title: str) -> Map:
    picture = found.pictures[0] if isinstance(found.pictures, tuple) else found.pictures
    values = picture[0, 0].float().cpu().numpy()
    coloured = len(values) in (1, 3)
    return Map(np.ascontiguousarray(values), title, SIGNAL if coloured else "signed_heat")


def _check_call(call: int, count: int, layer: str) -> None:
    if not 1 <= call <= count:
        raise InputError(f"call must be within 1..{count} for layer {layer!r}, got {call}")
