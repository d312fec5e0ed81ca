"""What a visitor can point at in a picture: positions of a segmentation, or detected boxes."""

from __future__ import annotations

from typing import Any, Literal

from torchattr.core.detections import holds_detections
from torchattr.runs import Answer, box_in_picture
from torchattr.web.panels.scene import Scene


def kind_of_regions(answer: Answer) -> Literal["boxes", "positions"] | None:
    """Return what regions of a picture stand for; `None` if its classes are all there is."""
    if answer.raw is None:
        return None
    if holds_detections(answer.raw):
        return "boxes"
    return "positions" if answer.raw.dim() == 4 else None


def detected_boxes(scene: Scene) -> list[dict[str, Any]]:
    """Return the detections, best first, with their boxes in pixels of the picture."""
    raw = scene.answer.raw
    if raw is None or not holds_detections(raw):
        return []
    rows = sorted(raw[0].detach().cpu().tolist(), key=lambda row: -row[4])
    return [
        {
            "index": int(label),
            "name": scene.loaded.class_name(int(label)),
            "score": score,
            "box": list(box_in_picture(corners, scene.prepared)),
        }
        for *corners, score, label in rows
        if label >= 0
    ]
