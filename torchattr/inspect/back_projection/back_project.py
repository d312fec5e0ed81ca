"""Back-projection of feature maps to the input: the deconvnet of a chosen map or position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchattr.core.arguments import checked_flags
from torchattr.core.types import Forward, Layer, Tensors
from torchattr.inspect.back_projection.projector import BackProjector, Rule
from torchattr.inspect.back_projection.seeds import Channels, Start
from torchattr.methods import Calls


@checked_flags
def back_project(
    model: Forward,
    inputs: Tensors,
    layer: Layer,
    channels: Channels = None,
    start: Start = "max",
    rule: Rule = "deconvolution",
    *,
    calls: Calls | None = None,
    rules: Mapping[str, Any] | None = None,
    strict: bool = True,
    additional_forward_args: Any = None,
    chunk: int | None = None,
    progress: bool = False,
) -> Any:
    """Project feature maps back to the input: what in it makes a map respond.

    All values of the layer are set to zero but those of one map, or one position of it; this signal
    is sent back to the inputs. With `rule="deconvolution"` this is the
    deconvnet: transposed convolutions, rectification and unpooling by the switches of the forward
    (Zeiler and Fergus 2014, arXiv:1311.2901). `"guided"` also blocks where the forward was not
    positive (Springenberg et al. 2015, arXiv:1412.6806); `"gradient"` is the gradient of
    `½ Σ a²` over the chosen values.

    Any number of maps needs one forward. On a CPU, a single position is followed through its
    receptive field only, which changes nothing but rounding.

    The picture is *not* an attribution of the model's prediction: it does not depend on any class.
    Nor can pictures of different maps be compared by brightness alone: they scale with the value
    that they start from.

    Args:
        model: the model; it is not modified.
        inputs: a tensor `(N, C, ...)`, or a tuple of tensors of which the first is spatial.
        layer: the name of the layer, or the module.
        channels: the maps: one, several, or `None` for all. `"top9"` selects the 9 strongest of
            each example, by the value at their start (by the mean for `start="map"`).
        start: `"max"` for the strongest position of each map, `"map"` for the whole map, or a
            position such as `(row, column)` in the layer's resolution.
        rule: `"deconvolution"`, `"guided"` or `"gradient"`.
        calls: which call of a layer that is called several times to use: `"last"` (the default,
            with a warning), `"first"`, or `"each"` for a tuple of results.
        rules: additional rules for deconvolution and guided, such as `{"gelu": "guided"}`.
        strict: whether rules that match nothing raise or only warn.
        additional_forward_args: additional positional arguments of the forward.
        chunk: number of maps per backward; see :class:`BackProjector`.
        progress: show a progress bar on stderr.

    Returns:
        a :class:`BackProjection` with pictures `(N, K, C, H, W)` for `K` maps; a tuple of them
        with `calls="each"`.

    Raises:
        LayerError: an unknown layer, or one without feature maps.
        InputError: a channel out of range, or an unknown rule or start.
        ShapeError: a start outside the map.
        NoRuleMatched: the model runs nothing that the rule rewrites.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> ta.back_project(model, torch.rand(2, 3, 8, 8), "1", channels="top2").pictures.shape
    torch.Size([2, 2, 3, 8, 8])
    """
    projector = BackProjector(
        model,
        inputs,
        layer,
        (rule,),
        calls=calls,
        rules=rules,
        strict=strict,
        additional_forward_args=additional_forward_args,
        chunk=chunk,
    )
    if isinstance(projector.calls, int):
        return projector.project(channels, start, progress=progress)
    each = projector.calls
    return tuple(projector.project(channels, start, call=c, progress=progress) for c in each)
