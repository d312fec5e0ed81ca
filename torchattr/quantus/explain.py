"""Quantus' `explain`: maps by the name of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr import methods
from torchattr.core.registry import suggest
from torchattr.errors import InputError
from torchattr.methods import enlarge
from torchattr.quantus.explained import as_tensor

Explaining = Callable[[Any, Tensor, Tensor, Mapping[str, Any]], Tensor]


def explain(
    model: Any,
    inputs: Any,
    targets: Any,
    *,
    method: str = "Gradient",
    xai_lib: str = "captum",
    xai_lib_kwargs: Mapping[str, Any] | None = None,
    reduce_axes: Sequence[int] = (1,),
    keepdims: bool = True,
    device: Any = None,
    **options: Any,
) -> Any:
    """Return the maps of inputs, as arrays for arrays and as tensors for tensors.

    Args:
        model: the model.
        inputs: `(N, C, ...)`.
        targets: the class of each.
        method: a method by Quantus' (and Captum's) name, `"Saliency"`, or a registered name of
            torchattr, `"grad_cam"`.
        xai_lib: accepted if it is `"captum"`.
        xai_lib_kwargs: arguments of the method's constructor.
        reduce_axes: dimensions to sum; none for rows `(N, C)`.
        keepdims: whether they stay, of size 1.
        device: where the inputs are moved.
        **options: `baseline`, `n_steps`, `window`, `gc_layer`, `interpolate` as in Quantus; of a
            registered name, arguments of its `attribute`.

    Raises:
        InputError: an unknown method, or one of another library.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    >>> explain(model, torch.rand(2, 3, 2, 2), torch.tensor([0, 1]), method="Saliency").shape
    torch.Size([2, 1, 2, 2])
    """
    if xai_lib != "captum":
        raise InputError(
            f"xai_lib={xai_lib!r} is not offered here: the methods are torchattr's; of zennit, see"
            " torchattr.LRP, which can be passed as explain_func"
        )
    x = as_tensor(inputs, "inputs").to(device)
    y = as_tensor(targets, "targets").to(x.device).long()
    found = _explained(method, model, x, y, xai_lib_kwargs or {}, options)
    if reduce_axes and x.dim() > 2:
        found = found.sum(tuple(reduce_axes), keepdim=keepdims)
    return found if isinstance(inputs, Tensor) else found.cpu().numpy()


def _explained(
    name: str,
    model: Any,
    x: Tensor,
    y: Tensor,
    made_with: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Tensor:
    if name == "Control Var. Random Uniform":
        return torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    if name == "Control Var. Constant":
        return torch.full_like(x, float(options.get("constant_value", 0)))
    layer = {"layer": options["gc_layer"]} if "gc_layer" in options else {}
    cls = _class_of(name)
    method: Any = cls(model, **{**made_with, **(layer if methods.takes(cls, "layer") else {})})
    found = method.attribute(x, target=y, **_arguments(name, x, options))
    size = options.get("interpolate")
    return found if size is None else enlarge(found, size)


def _class_of(name: str) -> type[methods.Attribution]:
    """Return the method of a name.

    Raises:
        InputError: an unknown one.
    """
    known = {**methods.registered_methods(), **BY_CAPTUM}
    if name not in known:
        raise InputError(f"there is no method {name!r}; {suggest(name, list(known))}")
    return known[name]


def _arguments(name: str, x: Tensor, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a method's `attribute` from Quantus' options."""
    if name in methods.registered_methods():
        return {key: value for key, value in options.items() if key != "gc_layer"}
    if name == "Gradient":
        return {"abs": False}
    if name == "Occlusion":
        window = options.get("window", (1, *(4 for _ in x.shape[2:])))
        return {"sliding_window_shapes": tuple(window)}
    if name not in _WITH_BASELINE:
        return {}
    found = {"baselines": options.get("baseline", torch.zeros_like(x))}
    if name == "IntegratedGradients":
        found |= {"n_steps": options.get("n_steps", 10), "method": "riemann_trapezoid"}
    return found


_WITH_BASELINE = ("GradientShap", "IntegratedGradients", "DeepLift", "DeepLiftShap")

BY_CAPTUM: Mapping[str, type[methods.Attribution]] = {
    "Gradient": methods.Saliency,
    "Saliency": methods.Saliency,
    "InputXGradient": methods.InputXGradient,
    "IntegratedGradients": methods.IntegratedGradients,
    "GradientShap": methods.GradientShap,
    "DeepLift": methods.DeepLift,
    "DeepLiftShap": methods.DeepLiftShap,
    "Deconvolution": methods.Deconvolution,
    "FeatureAblation": methods.FeatureAblation,
    "FeaturePermutation": methods.FeaturePermutation,
    "Occlusion": methods.Occlusion,
    "Lime": methods.Lime,
    "KernelShap": methods.KernelShap,
    "LRP": methods.LRP,
    "LayerGradCam": methods.GradCAM,
    "GuidedGradCam": methods.GuidedGradCAM,
}
"""The methods by the names that Quantus takes from Captum."""
