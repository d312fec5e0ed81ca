"""The efficient randomisation test: do maps get more complex when the whole model is random?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.types import Layers, OutputKey
from torchattr.evaluate.map_similarity import is_comparable
from torchattr.evaluate.shared_maps import Methods, asked, joined, undefined_for
from torchattr.explanation import METHODS
from torchattr.methods import checked_count


@checked_flags
def efficient_mprt(
    model: Any,
    inputs: Tensor,
    methods: Methods = METHODS,
    target: Any = None,
    *,
    bins: int = 100,
    layer: Layers | None = None,
    rules: Mapping[str, Any] | None = None,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    skip_refused: bool = False,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Return how much more complex maps get once the model is random, `(N,)`: higher is better.

    `(H(Φ(f̂, x)) − H(Φ(f, x))) / H(Φ(f, x))`, above -1, where `f̂` has only random layers and
    `H = −Σ p_b log p_b` is the entropy of a histogram of a map's values between its least and its
    largest. Hedström et al. 2024, arXiv:2405.02383. A positive value says that the map of the
    trained model is simpler, as one that shows learnt structure should be.

    It is *not* a comparison of two maps: maps of the same histogram score 0 wherever their values
    lie, and a method whose maps are all noise scores about 0 like one that shows the edges.

    Unlike in Quantus, whose rules choose the number of bins from the first maps, it is `bins` for
    each map, so that no example's score depends on the others; a constant map is NaN.

    Args:
        bins: number of bins of each histogram.
        layer: see :func:`mprt`, as all other arguments.

    Raises:
        InputTypeError: a function instead of a module, or several inputs.
        ModelError: the model cannot be copied.
        InputError: an argument out of range, or nothing to randomise.

    Warns `UndefinedMetricWarning` where a map is constant, NaN or infinite.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)).eval()
    >>> efficient_mprt(model, torch.rand(2, 3, 4, 4), "saliency")["saliency"].shape
    torch.Size([2])
    """
    checked_count(bins, "bins", 2)
    question = asked(
        model,
        inputs,
        methods,
        target,
        layer=layer,
        rules=rules,
        additional_forward_args=additional_forward_args,
        output=output,
        skip_refused=skip_refused,
    )
    random = question.randomised(model, seed)
    random.randomise(random.layers)
    parts = []
    for part, copied in zip(question.parts(), question.beside(random).parts(), strict=True):
        clean, broken = part.maps(model), copied.maps(random.model, quiet=True)
        parts.append({name: _rise(maps, broken.get(name), bins) for name, maps in clean.items()})
    return undefined_for(joined(parts), "the rise of complexity")


def _rise(clean: Tensor, broken: Tensor | None, bins: int) -> Tensor:
    broken = torch.full_like(clean, torch.nan) if broken is None else broken
    defined = is_comparable(clean) & is_comparable(broken)
    before, after = histogram_entropy(clean, bins), histogram_entropy(broken, bins)
    return ((after - before) / before).masked_fill(~defined, torch.nan)


def histogram_entropy(maps: Tensor, bins: int) -> Tensor:
    """Return the entropy in nats of a histogram of each map's values, `(N,)`."""
    flat = maps.flatten(1).nan_to_num(0.0, 0.0, 0.0)
    low = flat.amin(1, keepdim=True)
    spread = flat.amax(1, keepdim=True) - low
    share = (flat - low) / spread.where(spread > 0, 1)
    # The largest value belongs to the last bin.
    places = (share * bins).long().clamp(max=bins - 1)
    counts = flat.new_zeros(len(flat), bins).scatter_add_(1, places, torch.ones_like(flat))
    return torch.special.entr(counts / flat.shape[1]).sum(1)
