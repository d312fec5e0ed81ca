"""Sensitivity: how much an explanation changes when the input hardly does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.arguments import checked_flags, plain_numbers
from torchattr.core.types import Layers, Tensors
from torchattr.errors import InputError
from torchattr.evaluate.changes import MEASURES, ComparisonOptions, measured, observed_model
from torchattr.evaluate.explained_copies import ExplainFunction, Explanations
from torchattr.evaluate.measured_inputs import measured_inputs
from torchattr.evaluate.neighbours import Fill, Noise, Perturb, neighbours, translations
from torchattr.methods import check_at_once, checked_count


def sensitivity_max(
    explanation: ExplainFunction | Mapping[str, ExplainFunction],
    inputs: Tensors,
    *,
    perturb_func: Perturb | None = None,
    radius: float = 0.02,
    noise: Noise = "uniform",
    n_samples: int = 10,
    norm_ord: float | str = "fro",
    seed: int | Sequence[int] = 0,
    perturbations_per_eval: int | None = None,
    **options: Any,
) -> Any:
    """Return the largest relative change of an explanation near the input, `(N,)`.

    `max ‖Φ(x') − Φ(x)‖ / ‖Φ(x)‖` over samples `x'` with `‖x' − x‖∞ ≤ radius`, 0 or more; the lower,
    the more robust. Of an explanation of zeros it is the absolute change. Yeh et al. 2019,
    arXiv:1901.09392.

    It is a lower bound of the true maximum, which more samples approach, and it is *not* evidence
    that an explanation is right: a constant one has sensitivity 0.

    Quantus 0.6 draws the noise from NumPy's global generator, so that the result of an example
    depends on the batch.

    Args:
        explanation: a method, its `attribute` (with options as a `functools.partial`), or any
            function of inputs and options that returns one row for each example; or a mapping of
            several by name, which then share the perturbed inputs, and methods of one model their
            forwards.
        inputs: as for every method, see :class:`torchattr.Attribution`.
        perturb_func: called with copies of the inputs, those of an example side by side, and with
            the radius if it takes two arguments; returns the perturbed inputs. `None` adds noise.
        radius: half the width of uniform noise, or the standard deviation of normal noise.
        noise: `"uniform"` or `"normal"`.
        n_samples: number of samples of each example.
        norm_ord: the order of the norm, as of `torch.linalg.vector_norm`; `"fro"` is 2.
        seed: seed of the noise, or one for each example; it does not concern `perturb_func`.
        perturbations_per_eval: maximum number of samples of the batch at once; `None` uses as many
            as memory allows.
        **options: the explanation's own arguments. Those with one entry for each example are
            repeated; for a method, the predicted classes of `target=None` are those of the
            unchanged input.

    Returns:
        `(N,)`, or for a mapping a dict of these by name.

    Raises:
        ShapeError: perturbed inputs or explanations without one row for each example.
        InputError: an argument out of range, or explanations that are not finite.
        InputTypeError: nothing that explains.

    >>> import torch, torchattr as ta
    >>> linear = torch.nn.Linear(3, 2)
    >>> sensitivity_max(ta.Saliency(linear), torch.ones(2, 3), target=1)  # constant gradients
    tensor([0., 0.])
    """
    return _single(
        "sensitivity_max",
        explanation,
        inputs,
        perturb_func=perturb_func,
        radius=radius,
        noise=noise,
        n_samples=n_samples,
        norm_ord=norm_ord,
        seed=seed,
        perturbations_per_eval=perturbations_per_eval,
        **options,
    )


def sensitivity_average(
    explanation: ExplainFunction | Mapping[str, ExplainFunction], inputs: Tensors, **options: Any
) -> Any:
    """Return the mean relative change of an explanation near the input, `(N,)`.

    `mean ‖Φ(x') − Φ(x)‖ / ‖Φ(x)‖`, an unbiased estimate of the expectation over the perturbation;
    0 or more, the lower, the more robust. After Yeh et al. 2019, arXiv:1901.09392, and Bhatt,
    Weller and Moura 2020, arXiv:2005.00631. Arguments, errors, what it is *not*, and what differs
    from Quantus 0.6, are those of :func:`sensitivity_max`.

    >>> import torch, torchattr as ta
    >>> linear = torch.nn.Linear(3, 2)
    >>> sensitivity_average(ta.Saliency(linear), torch.ones(2, 3), target=1)
    tensor([0., 0.])
    """
    return _single("sensitivity_average", explanation, inputs, **options)


def local_lipschitz(
    explanation: ExplainFunction | Mapping[str, ExplainFunction],
    inputs: Tensors,
    *,
    input_norm_ord: float | str = "fro",
    **options: Any,
) -> Any:
    """Estimate the local Lipschitz constant of an explanation, `(N,)`.

    `max ‖Φ(x') − Φ(x)‖ / ‖x' − x‖` over samples `x'` near `x`, 0 or more; the lower, the more
    robust. Alvarez-Melis and Jaakkola 2018, arXiv:1806.08049, who search for the maximum.

    It is a lower bound of the constant. It is *not* comparable between explanations of different
    scale, nor between units of the input: normalise both, or see :func:`relative_input_stability`.

    Quantus 0.6 normalises maps first, by the largest element of the batch, so that the result of an
    example depends on the others.

    Args:
        explanation: as for :func:`sensitivity_max`.
        inputs: as for that function.
        input_norm_ord: the order of the norm of the input's change.
        **options: as for that function, whose errors these are.

    Returns:
        `(N,)`, or for a mapping a dict of these by name; NaN with a warning where no sample
        differs from the input.

    >>> import torch
    >>> local_lipschitz(lambda x: 3 * x, torch.zeros(2, 4)).round(decimals=4)
    tensor([3., 3.])
    """
    return _single("local_lipschitz", explanation, inputs, input_norm_ord=input_norm_ord, **options)


def continuity(
    explanation: ExplainFunction | Mapping[str, ExplainFunction],
    inputs: Tensors,
    *,
    steps: int = 28,
    fill: Fill = 0.0,
    perturbations_per_eval: int | None = None,
    **options: Any,
) -> Any:
    """Return how abruptly an explanation changes as the picture moves sideways, `(N,)`.

    `max ‖Φ(x') − Φ(x)‖₁ / ‖x' − x‖₂` over pictures `x'` moved by some columns, 0 or more; the
    lower, the more continuous. Montavon, Samek and Müller 2018, arXiv:1706.07979.

    A moved object should move its map, which this counts as a change: it is *not* about
    equivariance, and is comparable only between explanations of one scale.

    Quantus 0.6 moves by equal whole numbers of columns, which end before the right side.

    Args:
        explanation: as for :func:`sensitivity_max`.
        inputs: pictures `(N, C, h, w)`.
        steps: number of moves, evenly from nearly out of the frame on the left to the right.
        fill: the value of what enters the frame, or one for each picture, `(N, 1, 1, 1)`.
        perturbations_per_eval: as for that function.
        **options: the explanation's own arguments.

    Returns:
        `(N,)`, or for a mapping a dict of these by name; NaN with a warning where no move changes
        the picture.

    Raises:
        ShapeError, InputError, InputTypeError: as for that function; inputs that are not pictures.

    >>> import torch
    >>> picture = torch.eye(4)[None, None]
    >>> continuity(lambda x: 2 * x, picture, steps=3).shape
    torch.Size([1])
    """
    checked_count(steps, "steps")
    check_at_once(perturbations_per_eval)
    given = measured_inputs(inputs)
    explanations = Explanations(explanation, given, options, perturbations_per_eval)
    found = measured(
        ["local_lipschitz"],
        explanations,
        given,
        translations(given, steps, fill),
        steps,
        ComparisonOptions(order=1.0),
        None,
    )
    return _in_form(found, "local_lipschitz", explanations)


@checked_flags
def robustness(
    explanation: ExplainFunction | Mapping[str, ExplainFunction],
    inputs: Tensors,
    *,
    measures: Sequence[str] = tuple(MEASURES),
    model: Any = None,
    layer: Layers | None = None,
    perturb_func: Perturb | None = None,
    radius: float = 0.02,
    noise: Noise = "uniform",
    n_samples: int = 10,
    norm_ord: float | str = "fro",
    input_norm_ord: float | str = "fro",
    eps_min: float = 1e-6,
    keep_prediction: bool | None = None,
    seed: int | Sequence[int] = 0,
    perturbations_per_eval: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return several measures of robustness from the same perturbed inputs and explanations.

    Each is what the function of its name returns with these arguments: perturbed copies are the
    cost of all of them, and are made, run and explained once for all measures and methods.

    Args:
        explanation: as for :func:`sensitivity_max`.
        inputs: as for that function.
        measures: names among `sensitivity_max`, `sensitivity_average`, `local_lipschitz`,
            `relative_input_stability`, `relative_output_stability` and
            `relative_representation_stability`.
        model: as for :func:`relative_input_stability`.
        layer: as for :func:`relative_representation_stability`.
        perturb_func: as for :func:`sensitivity_max`, as are the others.
        input_norm_ord: the order of the norm of what explanations are compared with.
        eps_min: as for :func:`relative_input_stability`.
        keep_prediction: whether only samples count whose predicted class is that of the input;
            `None` asks that of the relative stabilities alone.

    Returns:
        for each measure `(N,)`, or for a mapping a dict of these by name of the explanation.

    Raises:
        ShapeError, InputError, InputTypeError, OutputError, LayerError: as for these functions; an
            unknown measure.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    >>> methods = {"gradient": ta.Saliency(model), "product": ta.InputXGradient(model)}
    >>> found = robustness(methods, torch.ones(2, 3), layer="0")
    >>> sorted(found)[:2], found["local_lipschitz"]["product"].shape
    (['local_lipschitz', 'relative_input_stability'], torch.Size([2]))
    """
    names = _checked_names(measures)
    checked_count(n_samples, "n_samples")
    check_at_once(perturbations_per_eval)
    comparison = ComparisonOptions(
        _order(norm_ord, "norm_ord"),
        _order(input_norm_ord, "input_norm_ord"),
        _checked_least(eps_min),
        keep_prediction,
    )
    given = measured_inputs(inputs)
    explanations = Explanations(explanation, given, options, perturbations_per_eval)
    observed = observed_model(names, explanations, given, model, layer, options, keep_prediction)
    perturbed = neighbours(given, perturb_func, noise, radius, seed)
    found = measured(names, explanations, given, perturbed, n_samples, comparison, observed)
    return {name: _in_form(found, name, explanations) for name in names}


def _single(name: str, explanation: Any, inputs: Tensors, **options: Any) -> Any:
    return robustness(explanation, inputs, measures=(name,), **options)[name]


def _in_form(
    found: Mapping[str, Mapping[str, Tensor]], name: str, explanations: Explanations
) -> Any:
    """Return a measure of each explanation, or of the only one."""
    by_name = {explanation: values[name] for explanation, values in found.items()}
    return by_name if explanations.several else by_name[""]


def _checked_names(measures: Any) -> list[str]:
    names = [measures] if isinstance(measures, str) else list(measures)
    unknown = [name for name in names if name not in MEASURES]
    if unknown or not names:
        given = repr(unknown[0]) if unknown else "none"
        raise InputError(f"measures must be some of {', '.join(MEASURES)}, got {given}")
    return names


def _checked_least(eps_min: Any) -> float:
    if not 0 < eps_min < float("inf"):
        raise InputError(f"eps_min must be positive and finite, got {eps_min}")
    return float(eps_min)


def _order(norm_ord: Any, name: str) -> float:
    norm_ord = plain_numbers(norm_ord)
    if norm_ord == "fro":
        return 2.0
    if isinstance(norm_ord, (int, float)) and not isinstance(norm_ord, bool):
        return float(norm_ord)
    raise InputError(f"{name} must be 'fro' or a number, got {norm_ord!r}")
