"""Each block's own scores: what the rest of the model makes of the mean of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchattr.core.device_faults import is_out_of_memory
from torchattr.core.inputs import Inputs
from torchattr.core.pytree import tensors_of, with_tensors
from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo, undoing
from torchattr.errors import Hint, LayerError, TorchattrError, WayOut
from torchattr.layers import (
    AttentionTap,
    Captured,
    ThreadHook,
    Trace,
    enter,
    hook_forward,
    is_entrance,
    nodes_of,
)
from torchattr.methods._gradient.attention_chain import AttentionChain
from torchattr.methods._gradient.backward_pass import PassResult
from torchattr.methods._gradient.rows import UNFIT

_NAME = WayOut("name the blocks or their class with {setting}", "layers")


def attention_blocks(
    model: Forward,
    inputs: Inputs,
    arguments: Sequence[Any],
    *,
    key: OutputKey = None,
    chosen: tuple[nn.Module, ...] = (),
    method: str = "LeGrad",
) -> list[nn.Module]:
    """Return the blocks of a model, each of which runs self-attention, in execution order.

    These are the outermost modules around each call that no other call shares, or that are among
    the chosen ones. This runs one forward.

    Raises:
        LayerError: there are no such modules, or their attention cannot be read.
    """
    tap = AttentionTap(chosen, "none")
    trace = Trace(model, inputs.tensors, arguments, taps=[tap], key=key, differentiable=False)
    calls = trace.calls(tap)
    chain = AttentionChain(
        [PassResult("attention", tuple(calls), ((),) * len(calls))], inputs, method
    )
    calls = calls[: len(chain.layers)]
    return list(dict.fromkeys(_block_of(call, calls, chosen) for call in calls))


def _block_of(
    call: Captured, calls: Sequence[Captured], chosen: tuple[nn.Module, ...]
) -> nn.Module:
    if chosen:
        return next(module for module in call.within if module in chosen)
    shared = {id(module) for other in calls if other is not call for module in other.within}
    own = [module for module in call.within if id(module) not in shared]
    if not own or len(calls) == 1:
        raise LayerError(
            "it is not known which modules are the blocks of this model, since there is one call of"
            " attention only, or several share all modules around them",
            hint=Hint(ways_out=[_NAME]),
        )
    return own[0]


class BlockScores:
    """Runs a model so that behind its last block it goes on with the tokens of each block.

    There, the batch holds the examples as they are, and then for each block the examples with the
    mean of its tokens in the place of each token. So the output has the scores of all blocks, and
    what comes last, whether it takes the class token, a mean or a pool, is the model's own.

    Args:
        model: the model.
        blocks: its blocks, the first one first.

    Attributes:
        means: the mean of each block's tokens, `(N, C)`.
        entered: the same values, `(blocks, N, C)`, where the rest of the model begins.
    """

    def __init__(self, model: Forward, blocks: Sequence[nn.Module]) -> None:
        self._model = model
        self._blocks = blocks
        self.means: list[Tensor] = []
        self.entered = torch.empty(0)
        self._joined: Any = None

    def __call__(self, *args: Any) -> Any:
        return undoing(partial(self._run, args))

    def _run(self, args: Sequence[Any], undo: Undo) -> Any:
        self.means, self._joined = [], None
        for block in self._blocks:
            hook_forward(undo, block, ThreadHook(self._note))
        try:
            return self._model(*args)
        except UNFIT as error:
            if self._joined is None or isinstance(error, TorchattrError) or is_out_of_memory(error):
                raise
            raise _other_rest(
                f"fails with more rows than it was given examples: {error}"
            ) from error

    def check_rest(self, output: Tensor) -> None:
        """Check that the rest of the model takes nothing but what the last block gives.

        A single example would be added to those of all blocks.

        Raises:
            LayerError: it takes something else from before, too.
        """
        if any(map(is_entrance, nodes_of(output, until=self._joined))):
            raise _other_rest("takes more than that from before, as by a residual connection")

    def _note(self, module: nn.Module, args: Any, output: Any) -> Any:
        tokens = tensors_of(output)[0]
        self.means.append(tokens.mean(tuple(range(1, tokens.dim() - 1))))
        if module is not self._blocks[-1]:
            return None
        if len({mean.shape for mean in self.means}) > 1:
            raise LayerError(
                "the tokens of the blocks differ in their number of channels, so the rest of the"
                " model cannot take those of each",
                hint=Hint(ways_out=[_NAME]),
            )
        self.entered = enter(torch.stack([mean.detach() for mean in self.means]))
        flat = self.entered.flatten(0, 1)
        spread = flat.view(len(flat), *[1] * (tokens.dim() - 2), -1).expand(-1, *tokens.shape[1:])
        joined = torch.cat([tokens, spread])
        self._joined = joined.grad_fn
        return with_tensors(output, lambda one: joined if one is tokens else one)


def _other_rest(what: str) -> LayerError:
    return LayerError(
        "the tokens that the last block gives are replaced by those of all blocks, but the rest of"
        f" the model {what}; blocks must be whole ones, with their residual connections",
        hint=Hint(ways_out=[_NAME]),
    )


def rows_of_blocks(output: Tensor, batch_size: int, blocks: int) -> tuple[Tensor, Sequence[Tensor]]:
    """Return the model's own scores, and those of each block.

    Raises:
        LayerError: the output has not a row for each example of each block.
    """
    if not output.dim() or len(output) != batch_size * (blocks + 1):
        raise LayerError(
            f"the rest of the model gives {tuple(output.shape)} for {batch_size} examples and"
            f" {blocks} blocks, of which it was given the tokens together; there must be a row of"
            " scores for each of them, and one more for each example",
            hint=Hint(ways_out=[_NAME]),
        )
    own, *others = output.split(batch_size)
    return own, others
