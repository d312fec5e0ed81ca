"""Relative stability: how much an explanation changes for what the input, or the model, does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchattr.core.arguments import checked_flags
from torchattr.core.types import Forward, Layers, Tensors
from torchattr.evaluate.explained_copies import ExplainFunction
from torchattr.evaluate.neighbours import Noise, Perturb
from torchattr.evaluate.sensitivity import robustness


@checked_flags
def relative_input_stability(
    explanation: ExplainFunction | Mapping[str, ExplainFunction],
    inputs: Tensors,
    *,
    model: Forward | None = None,
    perturb_func: Perturb | None = None,
    radius: float = 0.02,
    noise: Noise = "uniform",
    n_samples: int = 10,
    norm_ord: float | str = "fro",
    input_norm_ord: float | str = "fro",
    eps_min: float = 1e-6,
    keep_prediction: bool = True,
    seed: int | Sequence[int] = 0,
    perturbations_per_eval: int | None = None,
    **options: Any,
) -> Any:
    """Return the largest relative change of an explanation for that of the input, `(N,)`.

    `max ‖(Φ(x) − Φ(x')) / Φ(x)‖_p / max(‖(x − x') / x‖_p, ε)` over samples `x'` of the same
    predicted class; 0 or more, the lower, the more stable. Agarwal et al. 2022, arXiv:2203.06877.

    Elements of `Φ(x)` and of `x` that are 0 have no relative change; here they count as `ε`, so
    that a map with many zeros is dominated by them. It is *not* evidence that an explanation is
    right.

    In Quantus 0.6 a single sample of another class makes the result NaN, noise lies within 0.02 and
    0.2 and so only brightens, and `ε` replaces only a denominator of exactly 0.

    Args:
        explanation: as for :func:`sensitivity_max`.
        inputs: as for that function.
        model: what predicts classes, as scores `(N, classes)`; `None` is that of the method.
        perturb_func: as for that function, as are the others.
        norm_ord: the order of the norm of the explanation's change.
        input_norm_ord: the order of the norm in the denominator.
        eps_min: `ε`.
        keep_prediction: whether only samples of the same predicted class count.

    Returns:
        `(N,)`, or for a mapping a dict of these by name; NaN with a warning where every sample has
        another predicted class.

    Raises:
        ShapeError, InputError, InputTypeError: as for that function; no model.
        OutputError: the model does not return one row of scores for each example.

    >>> import torch
    >>> x = torch.ones(2, 3)
    >>> linear = torch.nn.Linear(3, 2)
    >>> relative_input_stability(lambda x: 5 * x, x, model=linear).round(decimals=3)
    tensor([1., 1.])
    """
    return _single(
        "relative_input_stability",
        explanation,
        inputs,
        model=model,
        perturb_func=perturb_func,
        radius=radius,
        noise=noise,
        n_samples=n_samples,
        norm_ord=norm_ord,
        input_norm_ord=input_norm_ord,
        eps_min=eps_min,
        keep_prediction=keep_prediction,
        seed=seed,
        perturbations_per_eval=perturbations_per_eval,
        **options,
    )


def relative_output_stability(
    explanation: ExplainFunction | Mapping[str, ExplainFunction], inputs: Tensors, **options: Any
) -> Any:
    """Return the largest relative change of an explanation for that of the scores, `(N,)`.

    `max ‖(Φ(x) − Φ(x')) / Φ(x)‖_p / max(‖h(x) − h(x')‖_p, ε)` over samples `x'` of the same
    predicted class, for the scores `h` that the model returns, which the paper takes before the
    softmax; 0 or more, the lower, the more stable. Agarwal et al. 2022, arXiv:2203.06877.
    Arguments, errors, what it is *not*, and what differs from Quantus 0.6, are those of
    :func:`relative_input_stability`.

    >>> import torch, torchattr as ta
    >>> linear = torch.nn.Linear(3, 2)
    >>> relative_output_stability(ta.Saliency(linear), torch.ones(2, 3), target=1)
    tensor([0., 0.])
    """
    return _single("relative_output_stability", explanation, inputs, **options)


def relative_representation_stability(
    explanation: ExplainFunction | Mapping[str, ExplainFunction],
    inputs: Tensors,
    *,
    layer: Layers | None = None,
    **options: Any,
) -> Any:
    """Return the largest relative change of an explanation for that of a layer, `(N,)`.

    `max ‖(Φ(x) − Φ(x')) / Φ(x)‖_p / max(‖(L(x) − L(x')) / L(x)‖_p, ε)` over samples `x'` of the
    same predicted class, for the values `L` of a layer; 0 or more, the lower, the more stable.
    Agarwal et al. 2022, arXiv:2203.06877. Zeros of a layer, of which a ReLU has many, count as `ε`,
    as those of the explanation do. What it is *not*, and what differs from Quantus 0.6, is as for
    :func:`relative_input_stability`.

    Args:
        explanation: as for :func:`relative_input_stability`.
        inputs: as for that function.
        layer: a name, pattern, class or module, or several, whose values count together; `None` is
            the last spatial layer, with a warning.
        **options: as for that function, whose errors these are.

    Raises:
        LayerError: a layer that is unknown or did not run.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    >>> x = torch.ones(2, 3)
    >>> relative_representation_stability(ta.Saliency(model), x, layer="0", target=1)
    tensor([0., 0.])
    """
    return _single("relative_representation_stability", explanation, inputs, layer=layer, **options)


def _single(name: str, explanation: Any, inputs: Tensors, **options: Any) -> Any:
    return robustness(explanation, inputs, measures=(name,), **options)[name]
