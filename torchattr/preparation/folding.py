"""Fold a batch-norm into the convolution before it, correctly whatever else reads its output.

A pair is folded at the level of its operations, neither in the model's code nor on its modules. The
convolution's call returns a stand-in for its output. If the batch-norm's own call of `F.batch_norm`
consumes it, that call returns the output of the folded convolution; whatever else the batch-norm's
module does, such as an activation, still runs. Any other consumer gets the true output: the
convolution then runs with its own weights. So another branch, a residual connection or a hook never
sees a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from torchattr.core.gradient_mode import gradients
from torchattr.core.pytree import tree_map_only
from torchattr.core.torch_private import DisableTorchFunction
from torchattr.errors import Hint, ModelError, WayOut
from torchattr.layers import Call, any_acts, parse_call

_WITHOUT_FOLDING = Hint(ways_out=[WayOut("prepare the model with {setting}", "fold", False)])

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED, nn.Linear)


def normalises_by(call: Call, norm: Any) -> bool:
    """Whether a batch-norm call uses exactly the statistics and weights that a module holds."""
    held = ("running_mean", "running_var", "weight", "bias")
    own = all(call.arguments[name] is getattr(norm, name, None) for name in held)
    return own and not call.arguments["training"] and call.arguments["eps"] == norm.eps


class Fold:
    """The folded weights of one pair; the modules themselves are not changed.

    They are recomputed when a tensor that they come from has changed.

    Args:
        conv: the convolution, transposed convolution or linear layer.
        norm: the batch-norm that consumes its output: any module that normalises by its own
            `running_mean`, `running_var`, `weight`, `bias` and `eps`.
        memory_format: that of folded weights of two-dimensional convolutions.
    """

    def __init__(
        self,
        conv: nn.Module,
        norm: nn.Module,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.conv: Any = conv
        self.norm: Any = norm
        self._memory_format = memory_format
        # One attribute, so that no thread pairs the weights of one state with another state.
        self._folded: tuple[Any, tuple[Tensor, Tensor]] | None = None

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return the folded weight and bias."""
        state, folded = self.state(), self._folded
        if folded is None or folded[0] != state:
            with gradients(False), DisableTorchFunction():
                folded = self._folded = state, self._fold()
        return folded[1]

    def state(self) -> Any:
        """Return a value that changes when a tensor that the folded weights come from does."""
        with DisableTorchFunction():
            return tuple(_state(tensor) for tensor in self._sources())

    @property
    def _is_linear(self) -> bool:
        return isinstance(self.conv, nn.Linear)

    def _sources(self) -> tuple[Tensor | None, ...]:
        norm = self.norm
        statistics = (norm.running_mean, norm.running_var)
        return (self.conv.weight, self.conv.bias, *statistics, norm.weight, norm.bias)

    def serves(self, input: Tensor) -> bool:
        """Whether the convolution of this input may be folded."""
        if self.norm.training or any(any_acts(hooks) for hooks in self._between()):
            return False
        return input.dim() == max(self.conv.weight.dim(), 2)

    def _between(self) -> tuple[Mapping[int, Any], ...]:
        """Return the hooks that see the tensor between the two modules."""
        own = (self.conv._forward_hooks, self.norm._forward_pre_hooks)
        return *own, global_hooks._global_forward_hooks, global_hooks._global_forward_pre_hooks

    def _fold(self) -> tuple[Tensor, Tensor]:
        """Fold in double precision, so that the folded weights are rounded only once."""
        exact: list[Any] = [t if t is None else t.detach().double() for t in self._sources()]
        weight, bias, mean, var, scale, shift = exact
        if isinstance(self.conv, TRANSPOSED):
            folded = self._fold_transposed(weight, bias, mean, var, scale, shift)
        else:
            fuse = fuse_linear_bn_weights if self._is_linear else fuse_conv_bn_weights
            folded = fuse(weight, bias, mean, var, self.norm.eps, scale, shift)
        own = self.conv.weight
        form = self._memory_format if own.dim() == 4 else torch.contiguous_format
        new_weight = folded[0].detach().to(own.dtype).contiguous(memory_format=form)
        return new_weight, folded[1].detach().to(own.dtype)

    def _fold_transposed(self, weight: Any, *per_channel: Any) -> tuple[Tensor, Tensor]:
        """Fold group by group: the second dimension of the weight holds the output channels."""
        groups = self.conv.groups
        parts = [[None] * groups if t is None else t.chunk(groups) for t in per_channel]
        folded = [
            fuse_conv_bn_weights(w, b, m, v, self.norm.eps, s, t, transpose=True)
            for w, b, m, v, s, t in zip(weight.chunk(groups), *parts, strict=True)
        ]
        return torch.cat([w for w, _ in folded]), torch.cat([b for _, b in folded])


def _state(tensor: Tensor | None) -> Any:
    if tensor is None:
        return None
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tensor.dtype, tensor.device


class DeferredOutput:
    """The output of a folded convolution, computed unfolded only if something reads it.

    Args:
        fold: the pair.
        convolve: the convolution, as a function of input, weight and bias.
        input: its input.
    """

    def __init__(self, fold: Fold, convolve: Callable[..., Tensor], input: Tensor) -> None:
        self.fold = fold
        self.folded: Tensor | None = convolve(input, *fold.weights())
        self._convolve = convolve
        self._input = input
        self._before = _state(input)
        self._differentiable = torch.is_grad_enabled()
        self._value: Tensor | None = None

    def take(self, call: Call) -> Tensor | None:
        """Return the folded output to its own batch-norm, once, unless the true one was read."""
        if self._value is not None or not normalises_by(call, self.fold.norm):
            return None
        folded, self.folded = self.folded, None
        return folded

    def read(self) -> Tensor:
        """Return the convolution's true output, computing it at the first call."""
        if self._value is None:
            if _state(self._input) != self._before:
                raise ModelError(
                    "the model reads the output of a convolution that was folded into its"
                    " batch-norm after overwriting that convolution's input",
                    hint=_WITHOUT_FOLDING,
                )
            conv = self.fold.conv
            # The first reader may run in no_grad, and a later one need the graph.
            with gradients(self._differentiable):
                self._value = self._convolve(self._input, conv.weight, conv.bias)
        return self._value


class StandIn(torch.autograd.Function):
    """A tensor of NaN that stands in for an output; part of the graph to detect misuse."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, like: Tensor) -> Tensor:
        return torch.full((), nan, dtype=like.dtype, device=like.device).expand(like.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        raise ModelError(
            "a gradient reached the output of a convolution that was folded into its batch-norm,"
            " through code that PyTorch's function modes do not see, such as an autograd.Function",
            hint=_WITHOUT_FOLDING,
        )


class FoldingMode(TorchFunctionMode):
    """Folds pairs during one forward, and computes the true output for every other consumer.

    Stand-ins hold NaN and block gradients, so code that function modes do not see cannot mistake
    them for an output.
    """

    def __init__(self, folds: Iterable[Fold]) -> None:
        super().__init__()
        self._folds = {id(fold.conv.weight): fold for fold in folds}
        self._waiting = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = None
        if func in _FOLDABLE and len(args) > 2:
            output = self._deferred(func, args, kwargs)
        elif not len(self._waiting) or func in _METADATA:
            return func(*args, **kwargs)
        elif func is F.batch_norm:
            output = self._folded_output(args, kwargs)
        return func(*self._resolve(args), **self._resolve(kwargs)) if output is None else output

    def _deferred(self, func: Any, args: Sequence[Any], kwargs: Any) -> Tensor | None:
        """Return a stand-in for the output of a folded convolution."""
        given, weight, _, *rest = args
        fold = self._folds.get(id(weight))
        input = self._true(given)
        if fold is None or not fold.serves(input):
            return None

        def convolve(*operands: Tensor) -> Tensor:
            output: Tensor = func(*operands, *rest, **kwargs)
            return output

        deferred = DeferredOutput(fold, convolve, input)
        with DisableTorchFunction():
            stand_in: Tensor = StandIn.apply(input, deferred.folded)
            self._waiting[stand_in] = deferred
        return stand_in

    def _folded_output(self, args: Any, kwargs: Mapping[str, Any]) -> Tensor | None:
        """Return the folded output if a batch-norm consumes its convolution's stand-in."""
        parsed = parse_call(F.batch_norm, args, kwargs)
        deferred = self._waiting.get(parsed[1][0]) if parsed else None
        return deferred.take(parsed[0]) if parsed and deferred else None

    def resolved(self, output: Any) -> Any:
        """Return the model's output with every stand-in replaced by the true output."""
        if not len(self._waiting):
            return output
        output = tree_map_only(Tensor, self._true, output)
        with DisableTorchFunction():
            # A stand-in that an unknown container or a module's attribute still holds may be read
            # after the forward.
            for stand_in, deferred in list(self._waiting.items()):
                stand_in.data = deferred.read().detach()
        return output

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._true(value)
        if type(value) in (tuple, list):
            return type(value)(self._resolve(item) for item in value)
        if type(value) is dict:
            return {name: self._resolve(item) for name, item in value.items()}
        return value

    def _true(self, tensor: Tensor) -> Tensor:
        """Return the true output of a stand-in, and any other tensor unchanged."""
        deferred = self._waiting.get(tensor)
        return tensor if deferred is None else deferred.read()


_FOLDABLE = {
    *(F.conv1d, F.conv2d, F.conv3d, F.linear),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
}
_METADATA = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "device")),
    *(Tensor.size, Tensor.dim, Tensor.__len__),
}
