"""What makes a segment, a detection and an embedding what they are, with the bundled model.

The model is a classifier of small objects. Its last linear layer, applied at each position, makes
it a segmenter; boxes around the segments make it a detector; what it feeds that layer is an
embedding.

    python docs/examples/targets.py --picture targets.jpg
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchattr as ta
from torchattr.models import load_model, read_image
from torchattr.models.collage import examples
from torchattr.show import panel

STRIDE = 8
SOFTENED = 8
"""Divides the logits of detections, whose probabilities would all be 1."""
METHODS = ("grad_cam", "guided_backprop")


class Segmenter(nn.Module):
    """Scores of each class at each position, `(N, K + 1, h, w)`; the last class is nothing."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        head = self.classifier.head
        scores = F.conv2d(self.classifier.features(x), head.weight[..., None, None], head.bias)
        return F.pad(scores, (0, 0, 0, 0, 0, 1))


class Detector(Segmenter):
    """A box around the segment of each class, with its highest probability as the score."""

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        return [self.detect(scores) for scores in super().forward(x)]

    def detect(self, scores: Tensor) -> dict[str, Tensor]:
        winners = scores.argmax(0)
        labels = [label for label in range(len(scores) - 1) if bool((winners == label).any())]
        found = [(winners == label).nonzero() for label in labels]
        corners = [torch.cat([cells.amin(0).flip(0), cells.amax(0).flip(0) + 1]) for cells in found]
        return {
            "boxes": STRIDE * torch.stack(corners).float(),
            "scores": scores[labels].flatten(1).amax(1).div(SOFTENED).sigmoid(),
            "labels": torch.tensor(labels),
        }


class Embedder(Segmenter):
    """What the classifier knows of the whole picture, `(N, C)`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier.features(x).mean((2, 3))


def main(picture: str) -> dict[str, float]:
    """Draw the maps of each target; return its value."""
    loaded = load_model("demo")
    first, *others = [loaded.preprocess(read_image(one.path)) for one in examples()]
    x = first.tensor[None]
    with torch.no_grad():
        found = Detector(loaded.model)(x)[0]
        prototype = Embedder(loaded.model)(torch.stack([one.tensor for one in others])).mean(0)
    best = found["scores"].topk(2).indices
    names = [loaded.class_name(int(label)) for label in found["labels"][best]]
    asked = {
        Segmenter: [ta.Segment(int(label)) for label in found["labels"][best]],
        Detector: [ta.Boxes(int(found["labels"][k]), found["boxes"][k]) for k in best],
        Embedder: [ta.Similarity(prototype)],
    }
    rows = [f"{kind}: {name}" for kind in ("segment", "box") for name in names]
    rows.append("similar to others")
    explained = [
        ta.explain(cls(loaded.model), x, METHODS, ta.Classes(targets), layer="classifier.stage3")
        for cls, targets in asked.items()
    ]
    values = torch.cat([one.scores[0] for one in explained]).tolist()
    maps = {method: torch.cat([one[method][0] for one in explained]) for method in METHODS}
    drawn = panel(
        first.original, maps, rows, [f"{value:.3g}" for value in values], box=first.box, cell=160
    )
    drawn.convert("RGB").save(picture)
    for row, value in zip(rows, values, strict=True):
        print(f"{row}: {value:.3g}")
    return dict(zip(rows, values, strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", default="targets.jpg")
    main(parser.parse_args().picture)
