"""The same score, shared by five methods, and where the rest of it stayed.

python docs/examples/relevance.py --picture relevance.png
"""

import argparse
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import torchattr as ta
from torchattr.models import load_model, read_image
from torchattr.models.collage import examples
from torchattr.show import grid, overlay, reduce_channels, rescale

SIZE = 192


def methods(model: torch.nn.Module) -> Mapping[str, ta.GradientAttribution]:
    return {
        "input x gradient": ta.InputXGradient(model),
        "guided backprop": ta.GuidedBackprop(model),
        "LRP epsilon": ta.LRP(model, {"conv": "epsilon", "linear": "epsilon"}),
        "LRP z+": ta.LRP(model, "epsilon_plus"),
        "LRP gamma": ta.LRP(model, {"conv": "gamma", "linear": "epsilon"}),
    }


def drawn(image: Image.Image, values: Tensor) -> np.ndarray:
    """Lay a map over its picture: red for, blue against."""
    shares = rescale(reduce_channels(values.numpy(), "sum"), sign="all", percentile=99)
    faint = image.resize((SIZE, SIZE)).convert("L").point(lambda level: 128 + level // 2)
    return overlay(np.asarray(faint.convert("RGB")), shares, alpha=1.0)


def main(picture: str | None) -> dict[str, float]:
    """Print and return the share of the score that reaches the pixels, by composite."""
    demo = load_model("demo")
    reached: dict[str, float] = {}
    rows, captions = [], []
    for path in [example.path for example in examples()[:2]]:
        photo = demo.preprocess(read_image(path))
        x = photo.tensor[None]
        target = int(demo.model(x).argmax())
        for name, method in methods(demo.model).items():
            values = method.attribute(x, target)[0].detach()
            rows.append(drawn(photo.original, values))
            captions.append(f"{name}: {demo.class_name(target)}")
            if isinstance(method, ta.LRP):
                (ledger,) = method.ledgers(x, target)
                print(f"{path.stem}, {name}", ledger.table(most=3), sep="\n")
                reached[f"{path.stem}, {name}"] = ledger.inputs / ledger.score
    if picture:
        Image.fromarray(grid(rows, columns=5, captions=captions)).save(picture)
    return reached


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="file for a figure")
    main(parser.parse_args().picture)
