"""Insertion and deletion curves: a score as features are restored or removed by attribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchattr.core.types import Forward, Tensors
from torchattr.evaluate.deletions import DeletionOptions, Deletions
from torchattr.evaluate.ranked_masks import (
    CurveKind,
    Ranking,
    as_fractions,
    counts_of,
    nested,
)
from torchattr.show import notebook, plot_lines, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Unpack


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores by the fraction of features inserted or deleted.

    Attributes:
        kind: `"insertion"` or `"deletion"`.
        fractions: from 0 on, `(N, steps + 1)`; they differ between examples only if these have
            different numbers of features.
        scores: `(N, steps + 1)`, or `(N, targets, steps + 1)` for several targets; NaN for maps
            without an order.
    """

    kind: CurveKind
    fractions: Tensor
    scores: Tensor

    @property
    def auc(self) -> Tensor:
        """The area below each curve by the trapezoidal rule, `(N,)` or `(N, targets)`."""
        kind = torch.promote_types(self.scores.dtype, torch.float32)
        return torch.trapezoid(self.scores.to(kind), self._beside(self.fractions).to(kind), dim=-1)

    @property
    def aopc(self) -> Tensor:
        """The mean fall of each score over all steps, `(N,)` or `(N, targets)`.

        `1 / (L + 1) Σ_k (s_0 - s_k)`, the area over the perturbation curve of Samek et al. 2017,
        arXiv:1509.06321. Of two deletion curves of one map, by `order="most"` and `"least"`, the
        difference is free of what every deletion does.
        """
        falls = self.scores[..., :1] - self.scores
        return mean_over(falls, self.distinct)

    @property
    def distinct(self) -> Tensor:
        """Whether each step changes anything, `(N, steps + 1)` or `(N, 1, steps + 1)`.

        The beginning counts. An example with fewer features than another has steps that do not.
        """
        moved = self.fractions.diff(dim=-1) > 0
        return self._beside(torch.cat([torch.ones_like(moved[:, :1]), moved], -1))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw a line for each example and target on Matplotlib axes; `None` creates a figure.

        The area below a single line is filled.
        """
        lines = list(self._lines())
        axes = plot_lines(lines, ax, fill=len(lines) == 1)
        axes.set_xlabel(f"fraction {'inserted' if self.kind == 'insertion' else 'deleted'}")
        axes.set_ylabel("score")
        axes.set_title(f"{self.kind.capitalize()}, AUC {self._mean_auc()}")
        return axes

    def __repr__(self) -> str:
        count, steps = len(self.scores), self.scores.shape[-1] - 1
        targets = f" × {self.scores.shape[1]} targets" if self.scores.dim() == 3 else ""
        examples = f"{count} example{'s' * (count != 1)}{targets}"
        return f"Curve({self.kind} of {examples} in {steps} steps; AUC {self._mean_auc()})"

    def _repr_html_(self) -> str:
        return notebook(self, lambda: [(f"{self.kind} curve", rendered(self.plot()))])

    def _beside(self, values: Tensor) -> Tensor:
        """Return values `(N, steps + 1)` in a shape that broadcasts with the scores."""
        return values if self.scores.dim() == 2 else values[:, None]

    def _mean_auc(self) -> str:
        auc = self.auc
        mean = f"{auc.nanmean().item():.3f}" if auc.numel() else "of nothing"
        return f"{mean} on average" if auc.numel() > 1 else mean

    def _lines(self) -> Iterator[tuple[Any, Any, str]]:
        auc = self.auc
        for example, fractions in enumerate(self.fractions.cpu()):
            if self.scores.dim() == 2:
                label = f"{example}: {auc[example]:.3f}"
                yield fractions, self.scores[example].cpu(), label
                continue
            for target, scores in enumerate(self.scores[example].cpu()):
                yield fractions, scores, f"{example}, target {target}: {auc[example, target]:.3f}"


def deletion_curve(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    steps: float = 100,
    order: Ranking = "most",
    **options: Unpack[DeletionOptions],
) -> Curve:
    """Measure how the score falls as features are replaced, in order of decreasing attribution.

    `s(x with the first q·n features ← b)` for fractions `q` from 0 to 1. A map that finds what the
    model uses makes it fall fast: the smaller the area, the better; for probabilities it is from 0
    to 1. Petsiuk, Das and Saenko 2018, arXiv:1806.07421, who set pixels of the normalised picture
    to 0.

    It is *not* independent of the baseline: pictures with holes are unlike any that the model was
    trained on, and their score may fall for that alone. Features of equal attribution go in the
    order of their numbers, of which the map says *nothing*. Compare areas for one model, baseline
    and number of steps only.

    Quantus 0.6 has :func:`torchattr.evaluate.pixel_flipping`, whose differences are said there.

    Args:
        model: as for every method, see :class:`torchattr.Attribution`.
        inputs: as for every method.
        attributions: the maps to evaluate, as methods return them: for pictures
            `(N, C, h, w)` or `(N, 1, h, w)`; for several targets `(N, targets, ...)`, each with
            its own order, or without that dimension one order for all of them.
        target: as for every method; `None` is the class predicted for the unchanged inputs.
        steps: number of steps; a float below 1 is the fraction of the features in each step. At
            most one step per feature.
        order: `"most"` begins with the features of the largest attribution ("MoRF"), `"least"`
            with those of the smallest ("LeRF"), where the score should stay. A feature of several
            elements is ranked by its mean; equal ones keep their order.
        options: see :class:`torchattr.evaluate.DeletionOptions`; a softmax by default.

    Returns:
        the curve of each map; NaN with a warning where several features are all said to be worth
        the same, as by a constant map: they have no order.

    Raises:
        ShapeError: attributions, masks or baselines that do not fit the inputs.
        InputTypeError: an argument of the wrong type.
        InputError: attributions that are not finite, or an argument out of range.
        OutputError: a softmax of a single score, or of probabilities; an output without one row
            per example.

    >>> import torch
    >>> x, weights = torch.ones(1, 3), torch.tensor([[3.0, 1.0, 2.0]])
    >>> curve = deletion_curve(lambda x: x @ weights.T, x, weights, activation="none")
    >>> curve.scores
    tensor([[6., 3., 1., 0.]])
    >>> curve.auc
    tensor([2.3333])
    """
    settled: DeletionOptions = {"activation": "softmax", **options}
    deletions = Deletions(model, inputs, attributions, target, **settled)
    counts = counts_at(deletions, steps)
    return curve_of(deletions, "deletion", order, counts, "deletion_curve")


def insertion_curve(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    steps: float = 100,
    order: Ranking = "most",
    **options: Unpack[DeletionOptions],
) -> Curve:
    """Measure how the score rises as features are restored, in order of decreasing attribution.

    `s(b with the first q·n features ← x)` for fractions `q` from 0 to 1: the larger the area, the
    better. The arguments are those of :func:`deletion_curve`, and so is what it is *not*; the
    baseline is blurred by default, as in Petsiuk, Das and Saenko 2018, arXiv:1806.07421. Quantus
    0.6 has no insertion.

    >>> import torch
    >>> weights = torch.tensor([[3.0, 1.0, 2.0]])
    >>> options = {"activation": "none", "baselines": 0}
    >>> insertion_curve(lambda x: x @ weights.T, torch.ones(1, 3), weights, **options).scores
    tensor([[0., 3., 5., 6.]])
    """
    settled: DeletionOptions = {"activation": "softmax", "baselines": "blur", **options}
    deletions = Deletions(model, inputs, attributions, target, **settled)
    counts = counts_at(deletions, steps)
    return curve_of(deletions, "insertion", order, counts, "insertion_curve")


def mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen values along the last dimension.

    Args:
        values: `(..., n)`, of which low precision is averaged in single precision.
        chosen: bools that broadcast to them.
    """
    kept = values.to(torch.promote_types(values.dtype, torch.float32)) * chosen
    return kept.sum(-1) / chosen.sum(-1)


def curve_of(
    deletions: Deletions, kind: CurveKind, first: Ranking, counts: Tensor, metric: str
) -> Curve:
    """Return the curve of a batch by the order of its attributions.

    Args:
        deletions: the batch and what is measured.
        kind: whether features are inserted or deleted.
        first: which features come first.
        counts: the number of features of each example at each step, from 0 on, `(steps + 1, N)`;
            to all of them for insertion.
        metric: its name, for the warning where maps have no order.
    """

    def scores(ranks: list[Tensor]) -> Tensor:
        found = deletions.of(nested(ranks, counts, kind), kind.capitalize())
        clean = deletions.scores.clean[None]
        return torch.cat([clean, found] if kind == "deletion" else [found.flip(0), clean])

    along = deletions.by_order(first, scores, metric)
    shares = (counts.double() / deletions.sizes).T
    exact = shares.to(along.device, torch.promote_types(along.dtype, torch.float32))
    return Curve(kind, exact, along)


def counts_at(deletions: Deletions, steps: Any) -> Tensor:
    """Return the number of features of each example at each step, `(steps + 1, N)`."""
    sizes = deletions.sizes
    return counts_of(as_fractions(steps, int(sizes.max())), sizes)
