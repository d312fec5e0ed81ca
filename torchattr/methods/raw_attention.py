"""Raw attention: what the last layer attends to."""

from __future__ import annotations

from torch import Tensor

from torchattr.methods._gradient.attention_chain import AttentionLayer
from torchattr.methods.attention import AttentionAttribution
from torchattr.methods.registry import register_method


@register_method("raw_attention")
class RawAttention(AttentionAttribution):
    """The last layer's attention, averaged over its heads: `1/H Σ_h A_h[class, patches]`.

    The result is a map `(N, 1, h, w)` on the grid of the patches. With `layers`, it is the last of
    these layers. The matrices of Vaswani et al. 2017, arXiv:1706.03762.

    It is *not* an attribution: neither the values nor the other layers enter, and it is the same
    for each target.

    Args:
        layers: the layers of which the last one counts; all by default.
        queries: as for :class:`AttentionRollout`.
        layout: as for :class:`AttentionRollout`.

    Raises:
        LayerError: as for :class:`AttentionRollout`.

    >>> import timm, torch, torchattr as ta
    >>> model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 64), depth=2).eval()
    >>> ta.RawAttention(model, "blocks.0").attribute(torch.rand(1, 3, 32, 64)).shape
    torch.Size([1, 1, 2, 4])
    """

    @property
    def span(self) -> slice:
        return slice(-1, None)

    def mixing(self, layer: AttentionLayer) -> Tensor:
        return layer.matrix().mean(1)
