"""The report of `prepare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from torchattr.preparation.choosing import Decision
from torchattr.preparation.gates import FlippedGates
from torchattr.preparation.pairs import Pair
from torchattr.preparation.precision import Deviation, Precision

MIB = 2**20


@dataclass(frozen=True)
class Preparation:
    """What was done to a model, and how far its results moved on the example inputs.

    Attributes:
        folded: the batch-norms folded, each with its convolution.
        left: why each remaining batch-norm was not folded, by name.
        difference: the largest difference of the output, over its largest magnitude.
        maps: how far saliency and guided backpropagation are from the original model's.
        gates: the ReLU gates that flipped.
        configuration: how it runs, such as in channels-last memory, and why.
        precision: that of the forward.
        shared: bytes of parameters and buffers shared with the original.
        new: bytes of folded weights.
        graphs: the state of the CUDA graph of each input signature.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    >>> ta.prepare(model, torch.randn(2, 3, 8, 8), channels_last=False).report.folded
    (Pair(conv='0', norm='1'),)
    """

    folded: Sequence[Pair]
    left: Mapping[str, str]
    difference: float
    maps: Mapping[str, Deviation]
    gates: FlippedGates | None
    configuration: Decision
    precision: Precision
    shared: int
    new: int
    graphs: Sequence[str] = ()

    @property
    def folded_of_all(self) -> str:
        """Number of batch-norms folded, such as `20 of 20`; `none` if the model has none."""
        count = len(self.folded) + len(self.left)
        return f"{len(self.folded)} of {count}" if count else "none"

    def rows(self) -> list[tuple[str, str]]:
        """Return the report as pairs of heading and text."""
        maps = [(f"{name} maps", str(moved)) for name, moved in self.maps.items()]
        flips = "not counted: the model runs no ReLU" if self.gates is None else str(self.gates)
        return [
            (
                "batch-norms folded",
                self.folded_of_all if self.folded or self.left else "none in this model",
            ),
            *(("not folded", text) for text in _left(self.left)),
            *self.configuration.rows(),
            ("torch.compile", "no: compiled code hides the operations that rules rewrite"),
            ("precision", self.precision),
            ("output", f"differs by {self.difference:.2g} of its largest value"),
            *maps,
            ("gates flipped", flips),
            ("memory", f"{self.shared / MIB:.1f} MiB shared, {self.new / MIB:.1f} MiB new"),
            *(("CUDA graphs", graph) for graph in self.graphs),
        ]

    @property
    def summary(self) -> str:
        """How the model runs now, as a short phrase."""
        runs = self.configuration.configuration
        return f"batch-norms folded: {self.folded_of_all}, {runs}, {self.precision}"

    def __repr__(self) -> str:
        return f"Preparation({self.summary}; output differs by {self.difference:.2g})"

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(("Preparation", *(f"  {name:<{width}}  {text}" for name, text in rows)))

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(text)}</td></tr>"
            for name, text in self.rows()
        )
        return f"<table><caption>Preparation</caption><tbody>{cells}</tbody></table>"


def _left(left: Mapping[str, str], most: int = 3) -> list[str]:
    """Return one line per reason, with the first names that it applies to."""
    sentences = []
    for why in dict.fromkeys(left.values()):
        names = [name for name, reason in left.items() if reason == why]
        more = f" and {len(names) - most} more" if len(names) > most else ""
        sentences.append(f"{', '.join(names[:most])}{more}: {why}")
    return sentences
