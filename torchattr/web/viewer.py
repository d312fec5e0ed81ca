"""One model with its visitors: answers their requests, and remembers the answers."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from torchattr.errors import ModelError
from torchattr.inspect import Rule
from torchattr.models import LoadedModel, read_image
from torchattr.runs import ScoreReader
from torchattr.web.panels.parts import Part, plain
from torchattr.web.panels.scene import Scene
from torchattr.web.state.buffers import buffers
from torchattr.web.state.limits import Limits
from torchattr.web.state.pictures import decode, stored_picture
from torchattr.web.state.sessions import Session, Sessions
from torchattr.web.state.stored import StoredFeatureMaps, StoredItem, StoredPicture
from torchattr.web.state.worker import Worker
from torchattr.web.views.catalog import method_entry, panel_entry
from torchattr.web.views.layers import (
    LayerEntry,
    ProjectorCache,
    default_layer,
    layer_entries,
    record_feature_maps,
)
from torchattr.web.views.regions import detected_boxes, kind_of_regions
from torchattr.web.views.run import run_method, run_panel
from torchattr.web.wording import in_viewer


@dataclass(frozen=True, eq=False)
class StoredAnswer(StoredItem):
    """An answer to an earlier request, with the ids of its parts."""

    name: str
    answer: dict[str, Any]
    ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model of the viewer.

    Attributes:
        loaded: the model.
        reader: reads the class scores from its output.
        layers: its layers, by the shape of the input.
    """

    loaded: LoadedModel
    reader: ScoreReader
    layers: dict[Any, list[LayerEntry]] = field(default_factory=dict)


class Viewer:
    """One model or several, their worker and their visitors' sessions.

    Whatever runs a model must be called on the worker.

    Args:
        loaded: the model.
        images: readable image files, offered in every session.
        limits: bounds on uploads, sessions and queued requests.
        others: models to compare it with.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        images: Sequence[Path],
        limits: Limits,
        others: Sequence[LoadedModel] = (),
    ) -> None:
        self.loaded = loaded
        self.models = _named([loaded, *others])
        self.limits = limits
        self.worker = Worker(limits.waiting, limits.waiting_each)
        self.drawing = ThreadPoolExecutor(2, thread_name_prefix="torchattr-drawing")
        self.instance = secrets.token_hex(4)
        self.examples = dict(stored_picture(read_image(path), path.name, loaded) for path in images)
        self.sessions = Sessions(limits, free=buffers(self.examples))
        self._projectors = ProjectorCache(limits.forwards, limits.forward_bytes)

    def close(self) -> None:
        self.worker.close()
        self.drawing.shutdown(wait=False, cancel_futures=True)

    def pictures(self, session: Session) -> dict[str, StoredPicture]:
        """Return the sample pictures, then those of a session, most recently used last."""
        return {**self.examples, **session.items(StoredPicture)}

    def picture(self, session: Session, key: str) -> StoredPicture:
        """Return a picture.

        Raises:
            ResultExpired: the session has no such picture.
        """
        return self.examples.get(key) or session.get(key, StoredPicture)

    def model(self, name: str | None) -> ServedModel:
        """Return the model of a name; default: the first one.

        Raises:
            ModelError: there is no such model.
        """
        chosen = next(iter(self.models)) if name is None else name
        if chosen not in self.models:
            raise ModelError(f"model must be one of {', '.join(self.models)}, got {chosen!r}")
        return self.models[chosen]

    def scene(
        self,
        session: Session,
        key: str,
        target: int | None = None,
        region: Sequence[float] | None = None,
        model: str | None = None,
    ) -> Scene:
        """Return a picture with the class, or the region of the picture, that is explained."""
        corners = None if region is None else tuple(region)
        served, prepared = self.model(model), self.picture(session, key).prepared
        if served.loaded is not self.loaded:
            prepared = served.loaded.preprocess(prepared.original)
        return Scene(served.loaded, served.reader, prepared, target, corners)

    def open(self, session: Session, data: bytes, name: str) -> tuple[str, StoredPicture]:
        """Store an uploaded picture; see :func:`torchattr.web.state.pictures.decode`."""
        key, picture = stored_picture(decode(data, name, self.limits), name, self.loaded)
        if key not in self.examples:
            session.keep(key, picture)
        return key, self.examples.get(key, picture)

    def scores(
        self, session: Session, key: str, top: int | None, model: str | None = None
    ) -> dict[str, Any]:
        """Return the scores of the `top` classes, or of all, highest first."""
        scene = self.scene(session, key, model=model)
        answer = scene.answer
        values = answer.probabilities
        order = values.argsort(descending=True, stable=True)[:top].tolist()
        return {
            "classes": [
                {"index": i, "name": scene.loaded.class_name(i), "score": plain(values[i])}
                for i in order
            ],
            "total": len(values),
            "bounded": answer.bounded,
            "note": answer.note.said(in_viewer),
            "regions": kind_of_regions(answer),
            "boxes": detected_boxes(scene),
        }

    def layers(self, session: Session, key: str, model: str | None = None) -> dict[str, Any]:
        """Return the layers of the model, and the default one."""
        scene, known = self.scene(session, key, model=model), self.model(model).layers
        shape = tuple(scene.inputs.shape)
        if shape not in known:
            known[shape] = layer_entries(scene)
        entries = known[shape]
        return {
            "layers": [entry.as_json() for entry in entries],
            "default": default_layer(scene),
        }

    def attribute(
        self,
        session: Session,
        key: str,
        target: int | None,
        method: str,
        values: dict[str, Any],
        region: Sequence[float] | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Run a method, unless the answer to the same request is still stored."""
        scene = self.scene(session, key, target, region, model)
        request = digest("method", key, scene.chosen, region, method, values, model)
        subject = f"{self._title(session, key, model)} {scene.named.name}"

        def compute() -> dict[str, Any]:
            parts, note = run_method(scene, method_entry(method), values)
            return {"title": scene.named.name, "target": scene.chosen, "note": note, "parts": parts}

        return self._remembered(session, scene, request, subject, compute)

    def panel(
        self,
        session: Session,
        key: str,
        target: int | None,
        panel: str,
        values: dict[str, Any],
        region: Sequence[float] | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Run a panel, unless the answer to the same request is still stored."""
        scene = self.scene(session, key, target, region, model)
        request = digest("panel", key, scene.chosen, region, panel, values, model)
        entry = panel_entry(panel)
        subject = f"{self._title(session, key, model)} {scene.named.name} {panel}"
        return self._remembered(
            session, scene, request, subject, lambda: {"parts": run_panel(scene, entry, values)}
        )

    def features(
        self, session: Session, key: str, layer: str, call: int, model: str | None = None
    ) -> dict[str, Any]:
        """Record the feature maps of a layer, unless they are still stored."""
        request = digest("features", key, layer, call, model)
        maps = session.find(request, StoredFeatureMaps)
        if maps is None:
            maps = record_feature_maps(self.scene(session, key, model=model), layer, call)
            session.keep(request, maps.renamed(f"{self._title(session, key, model)} {maps.name}"))
        flat = maps.values.reshape(len(maps.values), -1)
        return {
            "id": request,
            "layer": maps.layer,
            "shape": maps.values.shape,
            "largest": [plain(value) for value in flat.max(1)],
            "smallest": [plain(value) for value in flat.min(1)],
            "mean": [plain(value) for value in flat.mean(1)],
        }

    def project(
        self,
        session: Session,
        key: str,
        layer: str,
        channel: int,
        position: tuple[int, int] | None,
        rule: Rule,
        call: int,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Project a feature map back, from a position (default: its maximum) and as a whole."""
        scene = self.scene(session, key, model=model)
        request = digest("projection", key, layer, channel, position, rule, call, model)

        def compute() -> dict[str, Any]:
            forward = f"{key} {model}"
            pair = self._projectors.project(scene, forward, layer, channel, position, rule, call)
            return {
                "position": pair.position,
                "activation": plain(pair.activation),
                "strongest": plain(pair.strongest),
                "parts": [pair.from_position, pair.whole],
            }

        subject = self._title(session, key, model)
        return self._remembered(session, scene, request, subject, compute)

    def _title(self, session: Session, key: str, model: str | None) -> str:
        """Return what the names of files begin with: the picture, and which of several models."""
        title = PurePath(self.picture(session, key).name).stem
        return title if model is None else f"{title} {model}"

    def _remembered(
        self,
        session: Session,
        scene: Scene,
        request: str,
        subject: str,
        compute: Callable[[], dict[str, Any]],
    ) -> dict[str, Any]:
        """Return the stored answer to a request if all of its parts are stored, or a new one.

        Args:
            subject: what the names of downloaded files begin with.
        """
        known = session.find(request, StoredAnswer)
        if known is not None and all(map(session.holds, known.ids)):
            return {**known.answer, "cached": True}
        ids: list[str] = []

        def keep(item: StoredItem) -> str:
            ids.append(f"{request}-{len(ids)}")
            return session.keep(ids[-1], item.renamed(f"{subject} {item.name}"))

        answer = compute()
        parts: list[Part] = answer.pop("parts")
        answer["parts"] = [part.describe(scene, keep) for part in parts]
        session.keep(request, StoredAnswer("answer", answer, tuple(ids)))
        return {**answer, "cached": False}


def _named(models: Sequence[LoadedModel]) -> dict[str, ServedModel]:
    """Return models by their names, of which the same ones are numbered."""
    named: dict[str, ServedModel] = {}
    for loaded in models:
        same = sum(other.loaded.name == loaded.name for other in named.values())
        name = f"{loaded.name} ({same + 1})" if same else loaded.name
        named[name] = ServedModel(loaded, ScoreReader(loaded))
    return named


def digest(*request: Any) -> str:
    """Return a key for a request; equal requests have equal keys.

    >>> digest("panel", 1) == digest("panel", 1), len(digest("panel", 1))
    (True, 24)
    """
    text = json.dumps(request, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
