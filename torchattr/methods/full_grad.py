"""FullGrad: the gradient of the input and of each bias."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

from torch import Tensor, nn

from torchattr.core.arguments import check_choice
from torchattr.core.inputs import Inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.core.warn import warn
from torchattr.errors import (
    Hint,
    LayerError,
    NotSpatialWarning,
    ShapeError,
    WayOut,
)
from torchattr.layers import Captured, TapPoint, modules_behind, reading
from torchattr.methods._cam.fusing import mode_of
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.grids import enlarge, from_0_to_1
from torchattr.methods._gradient.memory import Memory
from torchattr.methods.base import GradientAttribution
from torchattr.methods.registry import register_method

Rescale = Literal["channel", "layer"]


@register_method("full_grad")
class FullGrad(GradientAttribution):
    """Input and biases, each times its gradient: `Σ_k ψ(x g_x)_k + Σ_l,c ψ(b g_b)_lc`.

    `ψ` takes magnitudes, rescales them to [0, 1] and enlarges them to the input's size; the map is
    `(N, 1, H, W)`. The biases are those of convolutions and linear layers, and of batch-norms in
    eval mode, `β − μγ/√(v + ε)`. Srinivas and Fleuret 2019, arXiv:1905.00780.

    Without `ψ` the terms sum to the score of a network of ReLUs, together with the biases behind
    the last grid, which belong to no position. The map has no sign and does *not* sum to the score.
    Biases that are no parameters of a module, and other normalisations, are not seen.

    Args:
        rescale: rescale each `"channel"` by itself, as in the paper, or a `"layer"`, as its
            authors' code does, so that weak channels stay weak.

    Raises:
        InputError: an unknown `rescale`.
        LayerError: no layer with a bias is known from the model.
        ShapeError: several inputs, or one that is no batch of images.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.FullGrad(model).attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        model: Forward,
        *,
        rescale: Rescale = "channel",
        output: OutputKey = None,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(model, output=output, memory=memory)
        check_choice("rescale", rescale, get_args(Rescale))
        self.rescale: Rescale = rescale

    def attribute(
        self, inputs: Tensors, target: Target = None, additional_forward_args: Any = None
    ) -> Any:
        """Return the map, from one forward and one backward.

        Args:
            inputs: one tensor of images; see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
        """
        return self._attribute(inputs, target, additional_forward_args)

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        if len(inputs.tensors) != 1 or not 3 <= inputs.tensors[0].dim() <= 5:
            shapes = [tuple(tensor.shape) for tensor in inputs.tensors]
            raise ShapeError(
                f"FullGrad needs one input (N, C, ...) with one to three more dimensions, got"
                f" {shapes}; pass what is not to be explained as additional_forward_args"
            )
        biased = dict(_biased(self.model))
        if not biased:
            raise LayerError(
                "FullGrad found no module with a bias in the model",
                hint=Hint(ways_out=[WayOut("InputXGradient is what it comes to without biases")]),
            )
        taps = {
            name: TapPoint(module, with_layout=True, with_values=False)
            for name, module in biased.items()
        }
        of_layers = [Pass(self.table, tap, name, required=False) for name, tap in taps.items()]
        return [Pass(self.table), *of_layers]

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        first, *others = results
        (image,) = inputs.tensors
        biases = {name: _bias_of(module) for name, module in _biased(self.model)}
        total, unread = self._map(image * first.gradients[0][0], image), []
        for result in others:
            for call, (gradient,) in zip(result.calls, result.gradients, strict=True):
                grid = _grid(gradient * biases[result.name](gradient), call, inputs)
                if isinstance(grid, str):
                    unread.append(f"{result.name!r} ({grid})")
                elif grid is not None:
                    total = total + self._map(grid, image)
        if unread:
            warn(f"FullGrad leaves out the biases of {'; '.join(unread)}", NotSpatialWarning)
        return total

    def _map(self, grid: Tensor, image: Tensor) -> Tensor:
        """Return the magnitudes of channels `(N, C, ...)`, rescaled, summed and enlarged."""
        rows = grid.abs().flatten(0, 1) if self.rescale == "channel" else grid.abs()
        summed = from_0_to_1(rows).view_as(grid).sum(1, keepdim=True)
        size = image.shape[2:]
        return enlarge(summed, size, mode_of(len(size)))

    def _settings(self) -> dict[str, Any]:
        rescale = None if self.rescale == "channel" else self.rescale
        return {"rescale": rescale, **super()._settings()}


def _grid(product: Tensor, call: Captured, inputs: Inputs) -> Tensor | str | None:
    """Return a layer's product as `(N, C, ...)`, or why not; `None` behind the last grid."""
    layout = reading(product.shape, call.layouts[0], inputs.tensors)
    if isinstance(layout, str):
        return layout
    if not layout.sizes:
        return None
    grid = layout.to_grid(product)
    return grid if len(grid) == inputs.batch_size else "its first dimension is not the batch"


def _biased(model: Forward) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules with a bias, by name; a function has no names for them."""
    seen: set[nn.Module] = set()
    for number, owner in enumerate(modules_behind(model)):
        for name, module in owner.named_modules():
            if module not in seen and _has_bias(module):
                seen.add(module)
                yield (f"{number}.{name}" if number else name), module


def _has_bias(module: nn.Module) -> bool:
    if isinstance(module, _NORMS):
        return module.running_mean is not None
    return isinstance(module, _LINEAR) and module.bias is not None


_LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _bias_of(module: Any) -> Callable[[Tensor], Tensor]:
    """Return a function from a layer's gradients to its bias, along their channels."""
    bias = _shift(module) if isinstance(module, _NORMS) else module.bias.detach()

    def along(gradient: Tensor) -> Tensor:
        last = isinstance(module, nn.Linear)
        return bias if last else bias.view(-1, *[1] * (gradient.dim() - 2))

    return along


def _shift(norm: Any) -> Tensor:
    """Return what a batch-norm in eval mode adds: `β − μγ/√(v + ε)`."""
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    return shift if norm.bias is None else shift + norm.bias.detach()
