"""A convolution and the batch-norm after it as one convolution, exact whatever the model does.

A pair is replaced where its operations meet, neither in the model's code nor on its modules. The
convolution's call gives something that *stands for* its output. If the batch-norm's own call of
`F.batch_norm` takes it, that call gives the result of the folded convolution; what the batch-norm
does besides, such as an activation, it does as ever. If anything else reads it, it is the true
output: the convolution then runs with its own weights. So another branch, a residual connection or
a hook never sees a wrong number.
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

from torchattr.core.pytree import tree_map_only
from torchattr.core.torch_private import DisableTorchFunction
from torchattr.errors import ModelError
from torchattr.layers import Call, any_acts, gradients, parse_call

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED, nn.Linear)


def normalises_by(call: Call, norm: Any) -> bool:
    """Whether a call of batch-norm takes just the numbers that a module holds."""
    held = ("running_mean", "running_var", "weight", "bias")
    own = all(call.arguments[name] is getattr(norm, name, None) for name in held)
    return own and not call.arguments["training"] and call.arguments["eps"] == norm.eps


class Fold:
    """The folded weights of one pair; the modules themselves are left as they are.

    They are made again when those that they come from have changed.

    Args:
        conv: the convolution, transposed convolution or linear layer.
        norm: the batch-norm that takes its output: any module that normalises by its own
            `running_mean`, `running_var`, `weight`, `bias` and `eps`.
    """

    def __init__(self, conv: nn.Module, norm: nn.Module) -> None:
        self.conv: Any = conv
        self.norm: Any = norm
        self.memory_format = torch.contiguous_format
        # One attribute, so that no thread sees the weights of one state beside another state.
        self._folded: tuple[Any, tuple[Tensor, Tensor]] | None = None

    def weights(self) -> tuple[Tensor, Tensor]:
        """Give the folded weight and bias."""
        state, folded = self.state(), self._folded
        if folded is None or folded[0] != state:
            with gradients(False), DisableTorchFunction():
                folded = self._folded = state, self._fold()
        return folded[1]

    def state(self) -> Any:
        """Give what tells whether a tensor that the folded weights come from has changed."""
        with DisableTorchFunction():
            return self.memory_format, tuple(_state(tensor) for tensor in self._sources())

    @property
    def _is_linear(self) -> bool:
        return isinstance(self.conv, nn.Linear)

    def _sources(self) -> tuple[Tensor | None, ...]:
        norm = self.norm
        statistics = (norm.running_mean, norm.running_var)
        return (self.conv.weight, self.conv.bias, *statistics, norm.weight, norm.bias)

    def serves(self, input: Tensor) -> bool:
        """Whether the convolution of this very input may be folded."""
        if self.norm.training or any(any_acts(hooks) for hooks in self._between()):
            return False
        return input.dim() == max(self.conv.weight.dim(), 2)

    def _between(self) -> tuple[Mapping[int, Any], ...]:
        """Give the hooks that see what passes between the two modules."""
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
        form = self.memory_format if own.dim() == 4 else torch.contiguous_format
        new_weight = folded[0].detach().to(own.dtype).contiguous(memory_format=form)
        return new_weight, folded[1].detach().to(own.dtype)

    def _fold_transposed(self, weight: Any, *per_channel: Any) -> tuple[Tensor, Tensor]:
        """Fold group by group: its output channels stand in the weight's second dimension."""
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


class Deferred:
    """What a folded convolution has not given yet.

    Args:
        fold: its pair.
        convolve: gives what it does from an input, a weight and a bias.
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
        """Give the folded result to its own batch-norm, once, and unless the true one was read."""
        if self._value is not None or not normalises_by(call, self.fold.norm):
            return None
        folded, self.folded = self.folded, None
        return folded

    def read(self) -> Tensor:
        """Give the convolution's true output."""
        if self._value is None:
            if _state(self._input) != self._before:
                raise ModelError(
                    "the model reads the output of a convolution that was folded into its"
                    " batch-norm, after it wrote over that convolution's input; prepare it with"
                    " fold=False"
                )
            conv = self.fold.conv
            # Whoever reads first may do so without a graph, and the next one with it.
            with gradients(self._differentiable):
                self._value = self._convolve(self._input, conv.weight, conv.bias)
        return self._value


class Standing(torch.autograd.Function):
    """Gives what stands for an output; it is in the graph to find out who takes it for a number."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, like: Tensor) -> Tensor:
        return torch.full((), nan, dtype=like.dtype, device=like.device).expand(like.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        raise ModelError(
            "a gradient came back to the output of a convolution that was folded into its"
            " batch-norm, through code that PyTorch's function modes do not see (an autograd"
            " function, say); prepare the model with fold=False"
        )


class Deferring(TorchFunctionMode):
    """Watches the forward of a prepared model for whoever reads what is deferred.

    What stands for an output is filled with NaN, and no gradient passes it. Code that function
    modes do not see gets no number from it that looks right.
    """

    def __init__(self, folds: Iterable[Fold]) -> None:
        super().__init__()
        self._folds = {id(fold.conv.weight): fold for fold in folds}
        self._waiting = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = None
        if func in _CONVOLVING and len(args) > 2:
            given = self._deferred(func, args, kwargs)
        elif not len(self._waiting) or func in _TELLS_THE_SHAPE:
            return func(*args, **kwargs)
        elif func is F.batch_norm:
            given = self._taken(args, kwargs)
        return func(*self._settle(args), **self._settle(kwargs)) if given is None else given

    def _deferred(self, func: Any, args: Sequence[Any], kwargs: Any) -> Tensor | None:
        """Give what stands for the output of a convolution that is folded."""
        given, weight, _, *rest = args
        fold = self._folds.get(id(weight))
        input = self.true(given)
        if fold is None or not fold.serves(input):
            return None

        def convolve(*operands: Tensor) -> Tensor:
            found: Tensor = func(*operands, *rest, **kwargs)
            return found

        deferred = Deferred(fold, convolve, input)
        with DisableTorchFunction():
            standing: Tensor = Standing.apply(input, deferred.folded)
            self._waiting[standing] = deferred
        return standing

    def _taken(self, args: Any, kwargs: Mapping[str, Any]) -> Tensor | None:
        """Give the folded result if a batch-norm takes what stands for its convolution's output."""
        understood = parse_call(F.batch_norm, args, kwargs)
        deferred = self._waiting.get(understood[1][0]) if understood else None
        return deferred.take(understood[0]) if understood and deferred else None

    def settled(self, output: Any) -> Any:
        """Give what the model returns, with true outputs in the place of what stands for them."""
        if not len(self._waiting):
            return output
        output = tree_map_only(Tensor, self.true, output)
        with DisableTorchFunction():
            # Whoever still holds one, such as an object of a class that is not known here or an
            # attribute of a module, may read it after the forward.
            for standing, deferred in list(self._waiting.items()):
                standing.data = deferred.read().detach()
        return output

    def _settle(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.true(value)
        if type(value) in (tuple, list):
            return type(value)(self._settle(item) for item in value)
        if type(value) is dict:
            return {name: self._settle(item) for name, item in value.items()}
        return value

    def true(self, tensor: Tensor) -> Tensor:
        """Give the true output for what stands for one, and any other tensor as it is."""
        deferred = self._waiting.get(tensor)
        return tensor if deferred is None else deferred.read()


_CONVOLVING = {
    *(F.conv1d, F.conv2d, F.conv3d, F.linear),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
}
_TELLS_THE_SHAPE = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "device")),
    *(Tensor.size, Tensor.dim, Tensor.__len__),
}
