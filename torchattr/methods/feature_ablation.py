"""Feature ablation: the decrease of the score when a part of the input is replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchattr.core.inputs import as_baselines, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Tensors, TensorsT
from torchattr.incremental import Mode, Recomputed
from torchattr.methods._perturbation.segments import as_segments
from torchattr.methods.ablation import Ablation
from torchattr.methods.registry import register_method


@register_method("feature_ablation")
class FeatureAblation(Ablation):
    """The score minus the score with one feature replaced by a baseline, `s(x) − s(x_{f←b})`.

    Every element of a feature gets the feature's value, so the result is shaped like the input. For
    a forward that aggregates the batch, there is one attribution for each of its values: the
    result's first dimension is then the number of values (1 for a scalar). The model may be any
    function: nothing is differentiated. The result has the dtype of the scores.

    It is *not* additive: the effect of two features together is in general not the sum of their
    effects, and it depends on the baseline.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Linear(4, 2)
    >>> halves = torch.tensor([[0, 0, 1, 1]])
    >>> ta.FeatureAblation(model).attribute(torch.ones(3, 4), target=1, feature_mask=halves).shape
    torch.Size([3, 4])
    """

    def attribute(
        self,
        inputs: TensorsT,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        incremental: Mode = "auto",
        report: Callable[[Recomputed], object] | None = None,
    ) -> TensorsT:
        """Return the attributions, shaped like the inputs.

        Args:
            inputs: as for every method, see :class:`Attribution`; integers are allowed. An input
                may have a different number of rows than the first (indices of sparse features,
                say): it then gets one attribution for each row of scores, `(rows, ...)`.
            baselines: what replaces a feature: a number or a tensor that broadcasts to the
                input, one for each input; 0 by default. The baseline of a bool input may be a bool.
            target: as for every method; `None` explains each value of a forward that aggregates
                the batch, whose output does not have one row for each example.
            additional_forward_args: as for every method.
            feature_mask: integers that broadcast to the input, one tensor for each input; elements
                with equal numbers are replaced together, in all inputs. Each example may have its
                own mask. By default every element is a feature.
            perturbations_per_eval: maximum number of features replaced in one forward; `None` uses
                as many as memory allows. It is halved when memory runs out. It affects the result
                by rounding only.
            show_progress: show a progress bar on stderr, with the time that remains.
            incremental: recompute only what a change can reach, exactly up to rounding: `"auto"`
                where that pays, `True` as far as possible, `False` never.
            report: called with a :class:`~torchattr.incremental.Recomputed`, which says how much
                was recomputed for changed pixels only, and why the rest was not; for example
                `reports.append`.

        Raises:
            ShapeError: a mask or baseline that does not broadcast to its input.
            InputTypeError: a mask that does not hold integers.
            OutputError: several perturbations at once, or masks that differ by example, of a
                forward that aggregates the batch, or with inputs of different numbers of rows.
            OutOfMemory: not even one perturbation fits.
        """
        given = as_inputs(inputs, differentiable=False, aligned=False)
        features = as_segments(given, feature_mask)
        return self._ablate(
            given,
            as_baselines(baselines, given),
            features,
            target,
            additional_forward_args,
            at_once=perturbations_per_eval,
            progress=show_progress,
            incremental=incremental,
            report=report,
        )
