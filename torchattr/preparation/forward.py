"""The forward of a prepared model: folded batch-norms, memory order, precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchattr.core.undoing import undone
from torchattr.layers import enter_mode
from torchattr.preparation.choosing import SIMPLEST, Configuration
from torchattr.preparation.cudnn import benchmark_cudnn
from torchattr.preparation.folding import Fold, FoldingMode
from torchattr.preparation.memory_order import to_channels_last
from torchattr.preparation.pairs import Pair
from torchattr.preparation.precision import Precision, cast, restore_dtype


class PreparedForward:
    """A model's forward with some of its batch-norms folded, in one memory order and precision.

    Args:
        model: the model; its modules are not changed.
        pairs: the names of what is folded.
        configuration: how it runs.
        precision: that of the forward; `"float32"` is the model's own.
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: Sequence[Pair],
        *,
        configuration: Configuration = SIMPLEST,
        precision: Precision = "float32",
    ) -> None:
        modules = dict(model.named_modules())
        is_last = configuration.channels_last
        memory_format = torch.channels_last if is_last else torch.contiguous_format
        self.model = model
        self.configuration = configuration
        self.precision: Precision = precision
        self.folds = [Fold(modules[pair.conv], modules[pair.norm], memory_format) for pair in pairs]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        first = next((one for one in args if isinstance(one, Tensor)), None)
        device = torch.device("cpu") if first is None else first.device
        if self.configuration.channels_last:
            args = tuple(map(to_channels_last, args))
        with undone() as undo:
            cast(undo, self.precision, device)
            benchmark_cudnn(undo, self.configuration.cudnn_benchmark)
            output = self._run(*args, **kwargs)
        if self.precision == "float32" or first is None or not first.is_floating_point():
            return output
        return restore_dtype(output, first.dtype)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if not self.folds:
            return self.model(*args, **kwargs)
        folding = FoldingMode(self.folds)
        with undone() as undo:
            enter_mode(undo, folding)
            returned = [self.model(*args, **kwargs)]
        # Popped, so that only tensors that are referenced elsewhere are filled in.
        return folding.resolved(returned.pop())

    def unfolded(self) -> PreparedForward:
        """Return the same forward with every convolution and batch-norm run separately."""
        return PreparedForward(
            self.model, (), configuration=self.configuration, precision=self.precision
        )

    def state(self) -> Any:
        """Return a value that changes when a tensor that folded weights come from does."""
        return tuple(fold.state() for fold in self.folds)
