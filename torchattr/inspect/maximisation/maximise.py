"""Activation maximisation and deepdream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from torchattr.core.arguments import checked_flags
from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.types import Forward, Layer, OutputKey
from torchattr.errors import InputError, ShapeError
from torchattr.inspect.maximisation.ascent import Ascent, Bounds, Smooth, Step
from torchattr.inspect.maximisation.augmentations import Jitter, Transform, default_transforms
from torchattr.inspect.maximisation.objectives import Goal, Objective

NOISE = 0.1
"""Standard deviation of the initial noise."""


@checked_flags
def maximise(
    model: Forward,
    objective: Objective,
    image: Tensor | None = None,
    *,
    shape: Sequence[int] | None = None,
    steps: int = 128,
    rate: float = 0.1,
    tv: float = 0.1,
    l2: float = 0.01,
    smooth: Smooth | None = "gaussian",
    sigma: float = 1.0,
    octaves: int = 1,
    octave_scale: float = 1.4,
    transforms: Sequence[Transform] | None = None,
    bounds: Bounds | None = None,
    seed: int = 0,
    output: OutputKey = None,
    additional_forward_args: Any = None,
    callback: Callable[[Step], None] | None = None,
    progress: bool = False,
) -> Tensor:
    """Optimise an image to activate a class, neuron, channel or layer as strongly as possible.

    Gradient ascent with regularisation, `x ← x + rate · (ĝ − tv · ∇TV(x) − l2 · x)`, where `ĝ` is
    the gradient of the objective, smoothed and divided by its root mean square, so that `rate`,
    `tv` and `l2` mean the same for every model. The rate falls linearly to zero in each octave.
    Erhan et al. 2009; Simonyan et al. 2013, arXiv:1312.6034; with the robustness and octaves of
    Mordvintsev et al. 2015 and Olah et al. 2017, doi:10.23915/distill.00007.

    The image is one of many that maximise the objective. It is *not* typical of the model's inputs,
    and its details depend on the regularisation.

    Args:
        model: the model; it is not modified.
        objective: a class index (or any single target of :class:`Attribution`), `(layer,
            channel)` for the mean of a channel, a layer for its mean square, or a :class:`Neuron`.
        image: initial image `(N, C, ...)`, normalised as the model expects; noise of `shape` if
            not given.
        shape: of the initial noise, `(C, ...)` for one image or `(N, C, ...)`.
        steps: number of steps per octave.
        rate: initial step size of each octave, in units of the input.
        tv: weight of the total variation, which keeps neighbouring pixels similar.
        l2: weight of the squared norm, which keeps the image close to the mean.
        smooth: `"gaussian"` blurs the gradient by `sigma` pixels, `"laplacian"` gives each
            frequency band the same strength; `None` leaves it.
        sigma: standard deviation of the blur in pixels.
        octaves: number of sizes at which the image is optimised, from small to its own. More than
            one needs a model that accepts images of any size.
        octave_scale: ratio of consecutive sizes.
        transforms: random transforms applied before each step, each a function of the images and
            a `torch.Generator`; `None` uses `Jitter(4)` and, for pictures, `Affine()`.
        bounds: minimum and maximum value, numbers or broadcastable tensors.
        seed: random seed of noise and transforms; PyTorch's global generators are not used.
        output: key of the scores in the model's output.
        additional_forward_args: additional positional arguments of the forward.
        callback: called with each :class:`~torchattr.inspect.Step`.
        progress: show a progress bar on stderr.

    Returns:
        the images `(N, C, ...)`, in the units of the input.

    Raises:
        InputError: neither an image nor a shape, or both; a setting out of range.
        TargetError: a target out of range, or one that does not depend on the image.
        LayerError: an unknown layer.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> ta.maximise(model, ("1", 2), shape=(3, 16, 16), steps=8).shape
    torch.Size([1, 3, 16, 16])
    """
    generator = Generator().manual_seed(seed)
    start = _start(model, image, shape, generator)
    ascent = Ascent(
        Goal(model, objective, output),
        as_arguments(additional_forward_args),
        default_transforms(start, 4) if transforms is None else transforms,
        generator,
        steps,
        rate,
        tv,
        l2,
        smooth,
        sigma,
        octaves,
        octave_scale,
        bounds,
        callback,
        "maximise" if progress else None,
    )
    return ascent.climb(start)


@checked_flags
def deepdream(
    model: Forward,
    image: Tensor,
    layer: Layer,
    channel: int | None = None,
    *,
    steps: int = 12,
    rate: float = 0.06,
    tv: float = 0.0,
    smooth: Smooth | None = "laplacian",
    octaves: int = 4,
    octave_scale: float = 1.4,
    jitter: int = 8,
    bounds: Bounds | None = None,
    seed: int = 0,
    additional_forward_args: Any = None,
    callback: Callable[[Step], None] | None = None,
    progress: bool = False,
) -> Tensor:
    """Amplify what a layer, or one of its channels, responds to in an image.

    :func:`maximise` of the layer's mean square (or the channel's mean), starting from the image,
    over octaves from small to large; the details of one octave are carried to the next.
    Mordvintsev, Olah and Tyka 2015.

    It exaggerates, and does *not* explain the model's prediction.

    Args:
        model: the model, which accepts images of any size; it is not modified.
        image: `(N, C, H, W)`, normalised as the model expects.
        layer: the name of the layer, or the module.
        channel: one of its channels; `None` uses all of them.
        steps: see :func:`maximise`.
        rate: see :func:`maximise`.
        tv: see :func:`maximise`.
        smooth: see :func:`maximise`.
        octaves: see :func:`maximise`.
        octave_scale: see :func:`maximise`.
        jitter: maximum random offset of the image in pixels.
        bounds: see :func:`maximise`.
        seed: see :func:`maximise`.
        additional_forward_args: see :func:`maximise`.
        callback: see :func:`maximise`.
        progress: see :func:`maximise`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> ta.deepdream(model, torch.rand(1, 3, 32, 32), "1", steps=2, octaves=2).shape
    torch.Size([1, 3, 32, 32])
    """
    return maximise(
        model,
        layer if channel is None else (layer, channel),
        image,
        steps=steps,
        rate=rate,
        tv=tv,
        l2=0.0,
        smooth=smooth,
        octaves=octaves,
        octave_scale=octave_scale,
        transforms=(Jitter(jitter),),
        bounds=bounds,
        seed=seed,
        additional_forward_args=additional_forward_args,
        callback=callback,
        progress=progress,
    )


def _start(
    model: Forward, image: Tensor | None, shape: Sequence[int] | None, generator: Generator
) -> Tensor:
    if (image is None) == (shape is None):
        raise InputError("pass either an initial image, or the shape of the noise")
    if image is not None:
        (given,) = as_inputs(image).tensors
    else:
        given = _noise(model, tuple(shape or ()), generator)
    if not 3 <= given.dim() <= 5:
        raise ShapeError(
            f"images must be (N, C, ...) with 1 to 3 spatial dimensions, got {tuple(given.shape)}"
        )
    return given


def _noise(model: Forward, shape: tuple[int, ...], generator: Generator) -> Tensor:
    whole = shape if len(shape) > 3 else (1, *shape)
    noise = NOISE * torch.randn(whole, generator=generator)
    module = getattr(model, "__self__", model)
    parameters = module.parameters() if isinstance(module, nn.Module) else ()
    like = next((p for p in parameters if p.is_floating_point()), noise)
    return noise.to(like.device, like.dtype)
