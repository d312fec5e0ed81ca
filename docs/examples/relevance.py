"""The same score, shared by five methods, and where the rest of it stayed.

python docs/examples/relevance.py --picture relevance.png
"""

import argparse
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

import torchattr as ta
from torchattr.models import load_model, read_image
from torchattr.models.collage import examples
from torchattr.show import (
    BAR,
    LIGHT,
    SIGNED_OVERLAY,
    CaptionedGrid,
    FigureHead,
    GridCell,
    Legend,
    resize_map,
    short_number,
    value_range,
)

CELL = 192


def methods(model: torch.nn.Module) -> Mapping[str, ta.GradientAttribution]:
    return {
        "Input × gradient": ta.InputXGradient(model),
        "Guided backprop": ta.GuidedBackprop(model),
        "LRP epsilon": ta.LRP(model, {"conv": "epsilon", "linear": "epsilon"}),
        "LRP z+": ta.LRP(model, "epsilon_plus"),
        "LRP gamma": ta.LRP(model, {"conv": "gamma", "linear": "epsilon"}),
    }


def tile(picture: np.ndarray, values: Tensor, reached: float | None) -> GridCell:
    """Lay a map over its picture: red for, blue against.

    reached: the share of the score that arrives at the pixels, if the method accounts for it.
    """
    summed = SIGNED_OVERLAY.reduce(values.numpy())
    drawn = SIGNED_OVERLAY.paint(picture, resize_map(summed, picture.shape[:2]))
    caption = [value_range(summed, signed=True)]
    if reached is not None:
        caption.append(f"{short_number(100 * reached)} % of the score")
    return GridCell([drawn], (CELL, CELL), caption)


def save(tiles: list[GridCell], headings: list[str], picture: str) -> None:
    bar = SIGNED_OVERLAY.bar((-1, 1), 1, *BAR)
    legend = Legend(bar, ("−max", "max"), SIGNED_OVERLAY.meaning.capitalize())
    note = (
        "Each map is scaled independently; its range is below it, and up to 0.5 % of its pixels are"
        " clipped. The percentages say how much of the score LRP hands back to the pixels; the"
        " values of guided backprop are no shares of it."
    )
    body = CaptionedGrid(tiles, len(headings), headings)
    title, head = "One score, shared by five methods", FigureHead("demo")
    head.draw(body, title, ["the predicted class"], [legend], note, LIGHT).save(picture)


def main(picture: str | None) -> dict[str, float]:
    """Print and return the share of the score that reaches the pixels, by composite."""
    demo = load_model("demo")
    reached: dict[str, float] = {}
    tiles: list[GridCell] = []
    for path in [example.path for example in examples()[:2]]:
        photo = demo.preprocess(read_image(path))
        x = photo.tensor[None]
        target = int(demo.model(x).argmax())
        seen = np.asarray(photo.original.resize((CELL, CELL)).convert("RGB"))
        tiles.append(GridCell([seen], (CELL, CELL), [f"class: {demo.class_name(target)}"]))
        for name, method in methods(demo.model).items():
            values, key = method.attribute(x, target)[0].detach(), f"{path.stem}, {name}"
            if isinstance(method, ta.LRP):
                (ledger,) = method.ledgers(x, target)
                print(key, ledger.table(most=3), sep="\n")
                reached[key] = ledger.inputs / ledger.score
            tiles.append(tile(seen, values, reached.get(key)))
    if picture:
        save(tiles, ["Input", *methods(demo.model)], picture)
    return reached


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="file for a figure")
    main(parser.parse_args().picture)
