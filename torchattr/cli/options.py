"""The options that several commands share, how they are parsed, and how messages name them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli import completion
from torchattr.errors import FUNCTION, Listing

if TYPE_CHECKING:
    from torchattr.models import Meaning
    from torchattr.show import Look
    from torchattr.show import View as PanelView

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE]...",
        help="Images: files, folders, patterns, or bundled ones: cat, coffee, rocket, camera;"
        " default: bundled ones that the model knows",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help="demo, lite0, torchvision:NAME, timm:NAME, timm:hf-hub:OWNER/NAME (of the Hugging Face"
        " Hub), path/to/file.py:FUNCTION or path/to/exported.pt2",
        metavar="MODEL",
        autocompletion=completion.models,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Attribution method (see torchattr methods); repeatable",
        autocompletion=completion.methods,
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
        "--trust", help="Allow loading an exported program (.pt2), which can run arbitrary code"
    ),
]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, mps, ...; auto uses CUDA if available")
]
Backend = Annotated[str, typer.Option(help="Kernel backend (see torchattr info --all)")]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="Class index or name, top3, or present; for explain also a function of the output:"
        " segment:CLASS, mask:FILE,CLASS, box:CLASS,X1,Y1,X2,Y2, difference:CLASS,OTHER,...,"
        " probability:CLASS; repeatable",
    ),
]
OperationLayers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        help="Layer by name or pattern, or r (every ReLU), p (pooling), c (convolution);"
        " repeatable",
    ),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule", help="Further rule for rule-based methods, such as gelu=guided; repeatable"
    ),
]
Output = Annotated[
    str | None, typer.Option(help="Entry of the model's output that holds the scores")
]
Memory = Annotated[
    str,
    typer.Option(
        help="What a forward may remember: lean (in the least memory), native (faster on small"
        " images), or auto",
        metavar="WAY",
    ),
]
Ledger = Annotated[
    bool,
    typer.Option(help="Show where each score went, for methods that distribute it, such as lrp"),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="Option of the methods by its name, such as n_steps=20, or of one of them, such as"
        " rise.n_masks=4000 (torchattr methods NAME lists them); repeatable",
        metavar="NAME=VALUE",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs")]
Composite = Annotated[
    str | None,
    typer.Option(
        help="Composite of rules of lrp: epsilon_plus (default), epsilon_gamma_box, zero, ...",
        metavar="NAME",
    ),
]
Channels = Annotated[
    list[int] | None, typer.Option("--channel", help="Channel of the layer; repeatable")
]
Out = Annotated[str, typer.Option(help="Output folder", metavar="FOLDER")]
Scores = Annotated[
    str | None,
    typer.Option(
        help="Meaning of the scores: logits (softmax of several, sigmoid of one), softmax, sigmoid,"
        " or raw values; by default, probabilities are shown only if they are known to be such",
        metavar="MEANING",
    ),
]
OutIfAny = Annotated[
    str | None,
    typer.Option("--out", help="Also write the results to this folder", metavar="FOLDER"),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Also replace files not created by torchattr, and redo finished images"
    ),
]
Logdir = Annotated[
    str | None,
    typer.Option(help="Also write a TensorBoard log (pip install tensorboard)", metavar="FOLDER"),
]
Html = Annotated[
    str | None, typer.Option(help="Also write a self-contained HTML report", metavar="FILE")
]

CamLayers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer", help="Layer of class activation maps (see torchattr layers); repeatable"
    ),
]
View = Annotated[
    str,
    typer.Option(
        help="What the panel shows: crop, the part that the model saw, or photo, all of it",
        metavar="VIEW",
    ),
]
Colors = Annotated[
    str | None,
    typer.Option(
        "--cmap",
        help="Colour map of the panel: viridis, inferno, magma, plasma, cividis, gray or turbo;"
        " for maps with a sign RdBu_r, coolwarm, PuOr_r or bwr",
        metavar="NAME",
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="Picture format: png (default), or pdf or svg, which keep texts as texts; repeatable",
        metavar="FORMAT",
    ),
]
Scale = Annotated[
    float, typer.Option(help="Pixels per unit of the pictures' layout; 2 doubles their resolution")
]
Dpi = Annotated[
    float | None,
    typer.Option(help="Pixels per inch: the size in print; default 96 per unit of the layout"),
]
Theme = Annotated[
    str | None,
    typer.Option(
        help="Colours of the pictures' page: light (default) or dark; also those of an HTML page,"
        " which by default are those of its reader's system",
        metavar="NAME",
    ),
]

OUT = "torchattr-out"

OPTIONS: Mapping[str, tuple[str, str]] = {
    "rules": ("--rule", "OPERATION=RULE"),
    "output": ("--output", "NAME"),
    "activation": ("--scores", "MEANING"),
    "memory": ("--memory", "WAY"),
    "composite": ("--composite", "NAME"),
    "ledger": ("--ledger", ""),
    "layer": ("--layer", "NAME"),
    "layers": ("--layer", "NAME"),
    "target": ("--target", "CLASS"),
    "targets": ("--target", "CLASS"),
    "channels": ("--channel", "NUMBER"),
    "size": ("--size", "PIXELS"),
    "octaves": ("--octaves", "NUMBER"),
    "octave_scale": ("--octave-scale", "RATIO"),
    "scale": ("--scale", "NUMBER"),
    "dpi": ("--dpi", "NUMBER"),
    "theme": ("--theme", "NAME"),
    "mode": ("--mode", "MODE"),
    "input_channels": ("--input-channel", "NUMBER"),
    "weights": ("--weights", "FILE"),
    "trust": ("--trust", ""),
    "overwrite": ("--overwrite", ""),
    "out": ("--out", "FOLDER"),
    "reduce": ("--reduce", "HOW"),
    "keep": ("--keep", "RESOLUTION"),
    "dtype": ("--dtype", "DTYPE"),
    "shard_size": ("--shard-size", "NUMBER"),
    "batch_size": ("--batch-size", "NUMBER"),
    "seed": ("--seed", "NUMBER"),
    "workers": ("--workers", "NUMBER"),
    "rank": ("--rank", "NUMBER"),
    "world": ("--world", "NUMBER"),
    "port": ("--port", "NUMBER"),
    "view": ("--view", "VIEW"),
    "cmap": ("--cmap", "NAME"),
    "token": ("--token", "TEXT"),
}
"""The option and the placeholder of its value for each argument of the library that has one."""

LISTS: Mapping[str, str] = {
    "method": "torchattr methods",
    "options": "torchattr methods NAME",
    "operation": "torchattr info --all",
}
"""The commands that list what an argument of the library takes."""

MEANINGS: Mapping[str, Meaning] = {
    "logits": "logits",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "raw": "none",
}
"""What `--scores` takes, and what the library calls it."""


_offered: ContextVar[frozenset[str] | None] = ContextVar("_offered", default=None)
"""The options of the running command; `None` outside of any."""


@contextmanager
def offering(options: Iterable[str]) -> Iterator[None]:
    """Let messages name only these options, which the running command has."""
    token = _offered.set(frozenset(options))
    try:
        yield
    finally:
        _offered.reset(token)


def in_command(argument: str, value: Any) -> str | None:
    """Word an argument of the library as an option; `None` if the command has no such option.

    >>> in_command("rules", {"gelu": "guided"}), in_command("layer", ...)
    ('--rule gelu=guided', '--layer NAME')
    >>> in_command("activation", "none"), in_command("strict", False)
    ('--scores raw', None)
    """
    if isinstance(value, Listing):
        return LISTS.get(argument)
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
    offered = _offered.get()
    return bool(option) and (offered is None or option in offered)


def look_of(theme: str | None, scale: float) -> Look:
    """Return how pictures are drawn; raises `InputError` for an unknown theme or scale."""
    from torchattr.show import LIGHT, Look, checked_theme

    return Look(LIGHT.theme if theme is None else checked_theme(theme), scale)


def panel_of(view: str, colors: str | None) -> tuple[PanelView, str | None]:
    """Parse how a panel is drawn; raises `InputError` for an unknown view or colour map."""
    from torchattr.show import HEAT, checked_view, recolored

    recolored(HEAT, colors)
    return checked_view(view), colors


def device_named(name: str) -> str:
    """Return the device that a name or `auto` stands for."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def rules_of(texts: Sequence[str]) -> dict[str, str]:
    """Parse rules such as `gelu=guided`.

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
                " torchattr info --all lists them"
            )
        rules[operation.strip()] = rule.strip()
    return rules


def entry_of(output: str | None) -> str | int | None:
    """Parse the entry of a model's output: a name or a position."""
    numbered = output is not None and re.fullmatch(r"-?\d+", output, re.ASCII)
    return int(numbered[0]) if numbered else output


def meaning_of(scores: str | None) -> Meaning | None:
    """Parse `--scores`; `None` if it was not given.

    Raises:
        InputError: an unknown meaning.
    """
    from torchattr.errors import InputError

    if scores is not None and scores not in MEANINGS:
        raise InputError(f"--scores must be one of {', '.join(MEANINGS)}, got {scores!r}")
    return None if scores is None else MEANINGS[scores]


def start_of(text: str) -> str | tuple[int, ...]:
    """Parse the start of a back-projection: `max`, `map`, or a position such as `7,12`.

    Raises:
        InputError: anything else.
    """
    from torchattr.errors import InputError

    if text in ("max", "map"):
        return text
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise InputError(f"--start must be max, map, or a position such as 7,12, got {text!r}")
    return tuple(map(int, text.split(",")))


def size_of(text: str | None) -> tuple[int, int] | None:
    """Parse a size in pixels: `224`, or height and width as `224x320`.

    Raises:
        InputError: anything else.
    """
    from torchattr.errors import InputError

    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", text)
    if not match:
        raise InputError(f"--size must be a number of pixels, or 224x320, got {text!r}")
    return int(match[1]), int(match[2] or match[1])
