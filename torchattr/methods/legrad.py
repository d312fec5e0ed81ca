"""LeGrad: how each block's own score depends on its attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.select import find_layers
from torchattr.core.targets import Neuron, Target, each, select_scores
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import TargetError
from torchattr.layers import AttentionTap, Trace
from torchattr.methods._gradient.attention_chain import AttentionChain
from torchattr.methods._gradient.backward_pass import PassResult
from torchattr.methods._gradient.block_scores import BlockScores, attention_blocks, rows_of_blocks
from torchattr.methods._gradient.grids import LayoutChoice, checked_layout, from_0_to_1
from torchattr.methods.base import Attribution
from torchattr.methods.registry import register_method


@register_method("legrad")
class LeGrad(Attribution):
    """The positive gradients of each block's score by its attention: `mean_l,h,q (∂s_l/∂A_l)⁺`.

    The score `s_l` of a block is what the rest of the model, behind the last block, makes of the
    mean of its tokens. Averaged are blocks, heads and queries; a map `(N, 1, h, w)` on the grid of
    the patches remains, rescaled to [0, 1]. Bousselham et al. 2024, arXiv:2404.03214, for scores of
    classes or texts. Models that pool by attention (SigLIP) are treated like all others, whereas
    the paper reads the attention of their pool.

    It is *not* the gradient of the model's score, but of one for each block, which a model was not
    trained for; it has no sign and, rescaled, no size.

    Args:
        layers: the blocks, which give tokens and run attention; by default, the outermost modules
            that run one attention each.
        layout: the layout of the tokens, as for :class:`GradCAM`; by default it is inferred.

    Raises:
        LayerError: as for :class:`AttentionRollout`; or the blocks are not known, or the rest of
            the model does not take their tokens.
        TargetError: a :class:`Neuron`, of which there is none behind the last block.

    >>> import timm, torch, torchattr as ta
    >>> model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 64), depth=2).eval()
    >>> ta.LeGrad(model).attribute(torch.rand(1, 3, 32, 64), target=7).shape
    torch.Size([1, 1, 2, 4])
    """

    def __init__(
        self,
        model: Forward,
        layers: Layers | None = None,
        *,
        layout: LayoutChoice = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, output=output)
        self._layers = layers
        self._modules = () if layers is None else tuple(find_layers(model, layers).values())
        self._layout: LayoutChoice = checked_layout(layout)

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        rescaled: bool = True,
    ) -> Tensor:
        """Return the maps.

        It takes two forwards, the first one to find the blocks, whatever the number of targets.

        Args:
            inputs: as for every method.
            target: as for every method.
            additional_forward_args: as for every method.
            rescaled: rescale each map to [0, 1], as the paper does.
        """
        if isinstance(target, Neuron):
            raise TargetError(f"LeGrad explains scores of the model's output, got {target!r}")
        given, arguments = as_inputs(inputs), as_arguments(additional_forward_args)
        blocks = attention_blocks(
            self.model, given, arguments, key=self.output, chosen=self._modules
        )
        run = _BlockRun(self, given, arguments, blocks)
        targets, several = each(target, run.own)
        maps = [run.map_of(single, self._layout) for single in targets]
        shown = [from_0_to_1(one) for one in maps] if rescaled else maps
        return torch.stack(shown, 1) if several else shown[0]

    def _settings(self) -> dict[str, Any]:
        return {"layers": self._layers, "layout": self._layout, **super()._settings()}


class _BlockRun:
    """One forward with the scores of all blocks."""

    def __init__(
        self, method: LeGrad, inputs: Inputs, arguments: Sequence[Any], blocks: list[nn.Module]
    ) -> None:
        self._inputs, self._title = inputs, method.title
        self._taps = [AttentionTap((block,)) for block in blocks]
        self._scores = BlockScores(method.model, blocks)
        self._trace = Trace(
            self._scores, inputs.tensors, arguments, taps=self._taps, key=method.output
        )
        self._scores.check_rest(self._trace.output)
        rows = rows_of_blocks(self._trace.output, inputs.batch_size, len(blocks))
        self.own, self._of_blocks = rows

    def map_of(self, target: Any, layout: LayoutChoice) -> Tensor:
        result = self._gradients(target)
        chain = AttentionChain([result], self._inputs, self._title)
        positive = [layer.matrix_gradient().relu().mean((1, 2)) for layer in chain.layers]
        return chain.map_of(torch.stack(positive).mean(0), layout)

    def _gradients(self, target: Any) -> PassResult:
        """Return the attention of each block, with the gradients of the block's score."""
        calls, found = [], []
        for tap, mean, above in zip(
            self._taps, self._scores.means, self._above(target), strict=True
        ):
            with gradients():
                score = (mean * above).sum(-1)
            for call in self._trace.calls(tap):
                (gradient,) = self._trace.gradients(score, call.edges)
                calls.append(call)
                found.append((torch.zeros_like(call.values[0]) if gradient is None else gradient,))
        return PassResult("attention", tuple(calls), tuple(found))

    def _above(self, target: Any) -> Tensor:
        """Return the gradient of each block's score by the mean of its tokens, `(blocks, N, C)`."""
        entered = self._scores.entered
        with gradients():
            score = torch.stack([select_scores(rows, target) for rows in self._of_blocks]).sum(0)
        edge = torch.autograd.graph.get_gradient_edge(entered)
        (found,) = self._trace.gradients(score, [edge], of_output=False)
        return torch.zeros_like(entered) if found is None else found
