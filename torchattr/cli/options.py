"""The options that several commands share, and what their texts mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from torchattr.errors import FUNCTION

if TYPE_CHECKING:
    from torchattr.models import Meaning

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE]...",
        help="Pictures: files, folders or patterns; none for those that come along",
        show_default=False,
    ),
]
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
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Allow an exported program (.pt2), which can run any code of its author"
    ),
]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, mps, ...; auto takes CUDA where there is any")
]
Backend = Annotated[str, typer.Option(help="Where the hot operations run (see torchattr info)")]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", help="A class by index or name, top3, or present; repeatable"),
]
OperationLayers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        help="A layer by name or pattern, or r (every ReLU), p (pooling), c (convolution);"
        " repeatable",
    ),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule", help="A further rule for guided methods, such as gelu=guided; repeatable"
    ),
]
Output = Annotated[
    str | None, typer.Option(help="The entry of the model's output that holds the scores")
]
Channels = Annotated[
    list[int] | None, typer.Option("--channel", help="One of the layer's maps; repeatable")
]
Out = Annotated[str, typer.Option(help="The folder for the results", metavar="FOLDER")]
Scores = Annotated[
    str | None,
    typer.Option(
        help="What scores are: logits (softmax of several, sigmoid of one), softmax, sigmoid, or"
        " raw values; unless given, probabilities are shown only where that is known",
        metavar="MEANING",
    ),
]
OutIfAny = Annotated[
    str | None, typer.Option("--out", help="Also a folder for the results", metavar="FOLDER")
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Also replace files that no former run wrote, and keep nothing as done"
    ),
]
Logdir = Annotated[
    str | None,
    typer.Option(help="Also a folder for TensorBoard (pip install tensorboard)", metavar="FOLDER"),
]
Html = Annotated[str | None, typer.Option(help="Also one page with all of it", metavar="FILE")]

OUT = "torchattr-out"

OPTIONS: Mapping[str, tuple[str, str]] = {
    "rules": ("--rule", "OPERATION=RULE"),
    "output": ("--output", "NAME"),
    "activation": ("--scores", "MEANING"),
    "layer": ("--layer", "NAME"),
    "layers": ("--layer", "NAME"),
    "target": ("--target", "CLASS"),
    "targets": ("--target", "CLASS"),
    "channels": ("--channel", "NUMBER"),
    "size": ("--size", "PIXELS"),
    "octaves": ("--octaves", "NUMBER"),
    "octave_scale": ("--scale", "RATIO"),
    "mode": ("--mode", "MODE"),
    "input_channels": ("--input-channel", "NUMBER"),
    "weights": ("--weights", "FILE"),
    "trust": ("--trust", ""),
    "overwrite": ("--overwrite", ""),
    "port": ("--port", "NUMBER"),
    "token": ("--token", "TEXT"),
}
"""The option and the placeholder of its value for each argument of the library that has one."""

MEANINGS: Mapping[str, Meaning] = {
    "logits": "logits",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "raw": "none",
}
"""What `--scores` takes, and what the library calls it."""


def in_command(argument: str, value: Any) -> str | None:
    """Word an argument of the library as an option; `None` if the command has no such option.

    >>> in_command("rules", {"gelu": "guided"}), in_command("layer", ...)
    ('--rule gelu=guided', '--layer NAME')
    >>> in_command("activation", "none"), in_command("strict", False)
    ('--scores raw', None)
    """
    option, placeholder = OPTIONS.get(argument, ("", ""))
    if not _is_offered(option) or value is FUNCTION:
        return None
    if value is True:
        return option
    if value is ...:
        return f"{option} {placeholder}".strip()
    return " ".join(f"{option} {shlex.quote(text)}" for text in _texts(argument, value))


def _texts(argument: str, value: Any) -> list[str]:
    if argument == "rules":
        return [f"{operation}={rule}" for operation, rule in value.items()]
    if argument == "activation":
        return [name for name, meaning in MEANINGS.items() if meaning == value]
    return [str(value)]


def _is_offered(option: str) -> bool:
    context = click.get_current_context(silent=True)
    if not option or context is None:
        return bool(option)
    return any(option in parameter.opts for parameter in context.command.params)


def device_named(name: str) -> str:
    """Give the device that `auto` stands for."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def rules_of(texts: Sequence[str]) -> dict[str, str]:
    """Read `gelu=guided` and the like.

    Raises:
        RuleError: a text of another form.
    """
    from torchattr.errors import RuleError

    rules = {}
    for text in texts:
        operation, equals, rule = text.partition("=")
        if not (operation and equals and rule):
            raise RuleError(
                f"--rule must be OPERATION=RULE, such as gelu=guided, got {text!r};"
                " torchattr info lists them"
            )
        rules[operation.strip()] = rule.strip()
    return rules


def entry_of(output: str | None) -> str | int | None:
    """Give the entry of a model's output: a name, or a position."""
    numbered = output is not None and re.fullmatch(r"-?\d+", output, re.ASCII)
    return int(numbered[0]) if numbered else output


def meaning_of(scores: str | None) -> Meaning | None:
    """Return what `--scores` says of the scores; `None` when it was not given.

    Raises:
        InputError: another word.
    """
    from torchattr.errors import InputError

    if scores is not None and scores not in MEANINGS:
        raise InputError(f"--scores must be one of {', '.join(MEANINGS)}, got {scores!r}")
    return None if scores is None else MEANINGS[scores]


def place_of(text: str) -> str | tuple[int, ...]:
    """Read where a back-projection starts: `max`, `map`, or a place such as `7,12`.

    Raises:
        InputError: something else.
    """
    from torchattr.errors import InputError

    if text in ("max", "map"):
        return text
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise InputError(f"--start must be max, map, or a place such as 7,12, got {text!r}")
    return tuple(map(int, text.split(",")))


def size_of(text: str | None) -> tuple[int, int] | None:
    """Read a size in pixels: `224`, or height and width as `224x320`.

    Raises:
        InputError: something else.
    """
    from torchattr.errors import InputError

    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", text)
    if not found:
        raise InputError(f"--size must be a number of pixels, or 224x320, got {text!r}")
    return int(found[1]), int(found[2] or found[1])
