"""What the routes share: the model, its worker, the pictures that come along, and the sessions."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchattr.inspect import Rule
from torchattr.models import LoadedModel, read_image
from torchattr.runs import ScoreReader
from torchattr.web.api.pictures import decode, shown
from torchattr.web.panels import feature_maps as layering
from torchattr.web.panels.attributions import attribute, show_panel
from torchattr.web.panels.catalog import method_entry, panel_entry
from torchattr.web.panels.parts import Part, plain
from torchattr.web.panels.scene import Scene
from torchattr.web.state.buffers import buffers
from torchattr.web.state.limits import Limits
from torchattr.web.state.sessions import Session, Sessions
from torchattr.web.state.stored import Item, Shown, StoredFeatureMaps
from torchattr.web.state.worker import Worker
from torchattr.web.wording import in_viewer


@dataclass(frozen=True, eq=False)
class Reply(Item):
    """An answer that was given before, to the same question."""

    name: str
    answer: dict[str, Any]
    ids: tuple[str, ...]


class Viewer:
    """One model, and all that is asked of it; what runs the model is called by the worker only.

    Args:
        loaded: the model.
        images: pictures that every session has; files that can be read.
        limits: bounds.
    """

    def __init__(self, loaded: LoadedModel, images: Sequence[Path], limits: Limits) -> None:
        self.loaded = loaded
        self.limits = limits
        self.reader = ScoreReader(loaded)
        self.worker = Worker(limits.waiting, limits.waiting_each)
        self.drawing = ThreadPoolExecutor(2, thread_name_prefix="torchattr-drawing")
        self.instance = secrets.token_hex(4)
        self.examples = dict(shown(read_image(path), path.name, loaded) for path in images)
        self.sessions = Sessions(limits, free=buffers(self.examples))
        self._projectors = layering.Projectors(limits.forwards, limits.forward_bytes)
        self._layers: dict[Any, list[layering.LayerEntry]] = {}

    def close(self) -> None:
        self.worker.close()
        self.drawing.shutdown(wait=False, cancel_futures=True)

    def pictures(self, session: Session) -> dict[str, Shown]:
        """Give the pictures that come along, and those of a session, the newest last."""
        return {**self.examples, **session.items(Shown)}

    def picture(self, session: Session, key: str) -> Shown:
        return self.examples.get(key) or session.get(key, Shown)

    def scene(self, session: Session, key: str, target: int | None = None) -> Scene:
        return Scene(self.loaded, self.reader, self.picture(session, key).prepared, target)

    def open(self, session: Session, data: bytes, name: str) -> tuple[str, Shown]:
        """Take in an uploaded picture; see :func:`torchattr.web.api.pictures.decode`."""
        key, picture = shown(decode(data, name, self.limits), name, self.loaded)
        if key not in self.examples:
            session.keep(key, picture)
        return key, self.examples.get(key, picture)

    def scores(self, session: Session, key: str, top: int | None) -> dict[str, Any]:
        """Give the classes of a picture, the best first; `top` of them, or all."""
        answer = self.scene(session, key).answer
        values = answer.probabilities
        order = values.argsort(descending=True, stable=True)[:top].tolist()
        return {
            "classes": [
                {"index": i, "name": self.loaded.class_name(i), "score": plain(values[i])}
                for i in order
            ],
            "total": len(values),
            "bounded": answer.bounded,
            "note": answer.note.said(in_viewer),
        }

    def layers(self, session: Session, key: str) -> dict[str, Any]:
        """Give the layers of the model, and which is the last with places."""
        scene = self.scene(session, key)
        shape = tuple(scene.inputs.shape)
        if shape not in self._layers:
            self._layers[shape] = layering.layer_entries(scene)
        entries = self._layers[shape]
        return {
            "layers": [entry.described() for entry in entries],
            "default": layering.default_layer(scene),
        }

    def attribute(
        self, session: Session, key: str, target: int | None, method: str, values: dict[str, Any]
    ) -> dict[str, Any]:
        """Run a method; the same question gets the same answer as long as it is held."""
        scene = self.scene(session, key, target)
        asked = digest("method", key, scene.chosen, method, values)

        def answer() -> dict[str, Any]:
            parts, note = attribute(scene, method_entry(method), values)
            return {"title": scene.class_name, "target": scene.chosen, "note": note, "parts": parts}

        return self._remembered(session, scene, asked, answer)

    def panel(
        self, session: Session, key: str, target: int | None, panel: str, values: dict[str, Any]
    ) -> dict[str, Any]:
        """Run a panel; likewise."""
        scene = self.scene(session, key, target)
        asked = digest("panel", key, scene.chosen, panel, values)
        entry = panel_entry(panel)
        return self._remembered(
            session, scene, asked, lambda: {"parts": show_panel(scene, entry, values)}
        )

    def features(self, session: Session, key: str, layer: str, call: int) -> dict[str, Any]:
        """Record the maps of a layer."""
        asked = digest("features", key, layer, call)
        maps = session.find(asked, StoredFeatureMaps)
        if maps is None:
            maps = layering.features(self.scene(session, key), layer, call)
            session.keep(asked, maps)
        flat = maps.values.reshape(len(maps.values), -1)
        return {
            "id": asked,
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
        place: tuple[int, int] | None,
        rule: Rule,
        call: int,
    ) -> dict[str, Any]:
        """Send a map back to the picture, from one place and as a whole."""
        scene = self.scene(session, key)
        asked = digest("projection", key, layer, channel, place, rule, call)

        def answer() -> dict[str, Any]:
            found = self._projectors.project(scene, key, layer, channel, place, rule, call)
            return {
                "position": found.position,
                "activation": plain(found.activation),
                "strongest": plain(found.strongest),
                "parts": [found.place, found.whole],
            }

        return self._remembered(session, scene, asked, answer)

    def _remembered(
        self, session: Session, scene: Scene, asked: str, answer: Any
    ) -> dict[str, Any]:
        """Give the answer of before if all of it is still held; else answer, and hold it."""
        known = session.find(asked, Reply)
        if known is not None and all(map(session.holds, known.ids)):
            return {**known.answer, "cached": True}
        ids: list[str] = []

        def keep(item: Item) -> str:
            ids.append(f"{asked}-{len(ids)}")
            return session.keep(ids[-1], item)

        found = answer()
        parts: list[Part] = found.pop("parts")
        found["parts"] = [part.describe(scene, keep) for part in parts]
        session.keep(asked, Reply("answer", found, tuple(ids)))
        return {**found, "cached": False}


def digest(*question: Any) -> str:
    """Give a number for a question; equal questions have equal numbers."""
    text = json.dumps(question, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
