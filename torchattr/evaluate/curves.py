"""Insertion and deletion curves: a score as features are restored or removed by attribution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchattr.core.types import Activation, Forward, OutputKey, Tensors
from torchattr.evaluate.deletions import Deletions
from torchattr.evaluate.ranked_masks import CurveKind, Order, Ranking, as_fractions, nested
from torchattr.show import notebook, plot_lines, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores by the fraction of features inserted or deleted.

    Attributes:
        kind: `"insertion"` or `"deletion"`.
        fractions: 0 to 1, `(N, steps + 1)`; they differ between examples only if these have
            different numbers of features.
        scores: `(N, steps + 1)`, or `(N, targets, steps + 1)` for several targets.
    """

    kind: CurveKind
    fractions: Tensor
    scores: Tensor

    @property
    def auc(self) -> Tensor:
        """The area below each curve by the trapezoidal rule, `(N,)` or `(N, targets)`."""
        fractions = self.fractions if self.scores.dim() == 2 else self.fractions[:, None]
        kind = torch.promote_types(self.scores.dtype, torch.float32)
        return torch.trapezoid(self.scores.to(kind), fractions.to(kind), dim=-1)

    @property
    def aopc(self) -> Tensor:
        """The mean fall of each score over all steps, `(N,)` or `(N, targets)`.

        `1 / (L + 1) Σ_k (s_0 - s_k)`, the area over the perturbation curve of Samek et al. 2017,
        arXiv:1509.06321. Of two deletion curves of one map, by `order="most"` and `"least"`, the
        difference is free of what every deletion does.
        """
        kind = torch.promote_types(self.scores.dtype, torch.float32)
        scores = self.scores.to(kind)
        return (scores[..., :1] - scores).mean(-1)

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

    def _mean_auc(self) -> str:
        auc = self.auc
        mean = f"{auc.mean().item():.3f}" if auc.numel() else "of nothing"
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
    baselines: Any = 0,
    feature_mask: Tensors | None = None,
    steps: float = 100,
    order: Ranking = "most",
    activation: Activation = "softmax",
    additional_forward_args: Any = None,
    output: OutputKey = None,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> Curve:
    """Measure how the score falls as features are replaced, in order of decreasing attribution.

    `s(x with the first q·n features ← b)` for fractions `q` from 0 to 1. A map that finds what the
    model uses makes it fall fast: the smaller the area, the better. Petsiuk, Das and Saenko 2018,
    arXiv:1806.07421, who set pixels of the normalised picture to 0.

    It is *not* independent of the baseline: pictures with holes are unlike any that the model was
    trained on, and their score may fall for that alone. Compare areas for one model, baseline
    and number of steps only.

    Args:
        model: as for every method, see :class:`torchattr.Attribution`.
        inputs: as for every method.
        attributions: the maps to evaluate, as methods return them: for pictures
            `(N, C, h, w)` or `(N, 1, h, w)`; for several targets `(N, targets, ...)`, each with
            its own order, or without that dimension one order for all of them.
        target: as for every method; `None` is the class predicted for the unchanged inputs.
        baselines: what deleted features become: a number, `"blur"` for pictures `(N, C, h, w)`, a
            Gaussian of 5 pixels cut to 11 as in the paper, or a tensor that broadcasts to the
            input; for a tuple of inputs, one of these for all, or a tuple.
        feature_mask: features, as for :class:`torchattr.FeatureAblation`, such as superpixels;
            each is ranked by its mean attribution. By default each pixel, with all its channels,
            is a feature, or each element of rows `(N, C)`. Features of equal attribution keep
            their order.
        steps: number of steps; a float below 1 is the fraction of the features in each step. At
            most one step per feature.
        order: `"most"` begins with the features of the largest attribution ("MoRF"), `"least"`
            with those of the smallest ("LeRF"), where the score should stay.
        activation: how the model's scores become probabilities: `"softmax"` as in the paper,
            `"sigmoid"`, or `"none"` for raw scores. It does not apply to a
            :class:`torchattr.Neuron`, nor to a target that is a function of the output.
        additional_forward_args: as for every method.
        output: as for every method.
        perturbations_per_eval: maximum number of steps per forward; `None` uses as many as
            memory allows.
        show_progress: show a progress bar on stderr.

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
    return _curve(
        "deletion",
        model,
        inputs,
        attributions,
        target,
        baselines=baselines,
        feature_mask=feature_mask,
        steps=steps,
        order=order,
        activation=activation,
        additional_forward_args=additional_forward_args,
        output=output,
        perturbations_per_eval=perturbations_per_eval,
        show_progress=show_progress,
    )


def insertion_curve(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    baselines: Any = "blur",
    feature_mask: Tensors | None = None,
    steps: float = 100,
    order: Ranking = "most",
    activation: Activation = "softmax",
    additional_forward_args: Any = None,
    output: OutputKey = None,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> Curve:
    """Measure how the score rises as features are restored, in order of decreasing attribution.

    `s(b with the first q·n features ← x)` for fractions `q` from 0 to 1: the larger the area, the
    better. The arguments are those of :func:`deletion_curve`, and so is what it is *not*; the
    baseline is blurred by default, as in Petsiuk, Das and Saenko 2018, arXiv:1806.07421.

    >>> import torch
    >>> weights = torch.tensor([[3.0, 1.0, 2.0]])
    >>> options = {"activation": "none", "baselines": 0}
    >>> insertion_curve(lambda x: x @ weights.T, torch.ones(1, 3), weights, **options).scores
    tensor([[0., 3., 5., 6.]])
    """
    return _curve(
        "insertion",
        model,
        inputs,
        attributions,
        target,
        baselines=baselines,
        feature_mask=feature_mask,
        steps=steps,
        order=order,
        activation=activation,
        additional_forward_args=additional_forward_args,
        output=output,
        perturbations_per_eval=perturbations_per_eval,
        show_progress=show_progress,
    )


def _curve(
    kind: CurveKind,
    model: Forward,
    inputs: Tensors,
    attributions: Any,
    target: Any,
    *,
    baselines: Any,
    feature_mask: Any,
    steps: Any,
    order: Ranking,
    activation: Activation,
    additional_forward_args: Any,
    output: OutputKey,
    perturbations_per_eval: int | None,
    show_progress: bool,
) -> Curve:
    deletions = Deletions(
        model,
        inputs,
        attributions,
        target,
        baselines=baselines,
        feature_mask=feature_mask,
        activation=activation,
        additional_forward_args=additional_forward_args,
        output=output,
        perturbations_per_eval=perturbations_per_eval,
    )
    orders = [Order(deletions.features, one, order) for one in deletions.attributions]
    fractions = as_fractions(steps, int(orders[0].sizes.max()))
    values, counts = [], orders[0].counts(fractions)
    clean = deletions.scores.clean
    for one in orders:
        found = deletions.of(
            nested(one, counts, kind), kind.capitalize() if show_progress else None
        )
        values.append(_with_clean(found, clean, kind))
    along = _of_each_target(values).movedim(0, -1)
    exact = (counts / orders[0].sizes).T.to(torch.promote_types(along.dtype, torch.float32))
    return Curve(kind, exact, deletions.in_form(along))


def _with_clean(values: Tensor, clean: Tensor, kind: CurveKind) -> Tensor:
    """Add the endpoint at which nothing is replaced, whose score is known."""
    ends = [clean[None], values] if kind == "deletion" else [values, clean[None]]
    return torch.cat(ends)


def _of_each_target(values: Sequence[Tensor]) -> Tensor:
    """Select each target's scores from its own order; a single order serves all targets."""
    if len(values) == 1:
        return values[0]
    return torch.stack([found[..., target] for target, found in enumerate(values)], dim=-1)
