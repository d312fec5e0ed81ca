"""The options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Option(
        help="demo, torchvision:NAME, timm:NAME, path/to/file.py:FUNCTION or path/to/exported.pt2",
        metavar="MODEL",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="A .safetensors or .pth file, the name of published weights, or random",
        metavar="FILE",
    ),
]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, mps, ...; auto takes CUDA where there is any")
]


def device_named(name: str) -> str:
    """Give the device that `auto` stands for."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
