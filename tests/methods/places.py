"""Where a layer holds what a place of the image shows, found without the library's tracking.

A patch of the image is changed, and the position of the layer at which its values change most must
be that of the patch. Attention spreads a change to all positions alike, so what all have in common
is also subtracted: what is left is strongest where the patch is.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from torchattr.layers import Captured, Layout, TapPoint, Trace

PLACES = [
    *((0.12, 0.85), (0.35, 0.2), (0.6, 0.68), (0.86, 0.42)),
    *((0.1, 0.1), (0.9, 0.9), (0.5, 0.1), (0.2, 0.55)),
]
"""Rows and columns, as shares of the image's; no symmetry of a square maps them to each other."""


def captured(net: nn.Module, x: Tensor) -> dict[str, Captured]:
    """Return the last call of each layer, with its layouts."""
    names = {module: name for name, module in net.named_modules() if name}
    taps = [TapPoint(module, with_layout=True, with_values=False) for module in names]
    return {names[tap.module]: call for tap, call in Trace(net, (x,), taps=taps).order}


def grids_of(calls: Mapping[str, Captured]) -> dict[str, Layout]:
    """Return the layouts of the layers that are read as grids of several positions."""
    layouts = {name: call.layouts[0] for name, call in calls.items() if len(call.layouts) == 1}
    return {
        name: layout
        for name, layout in layouts.items()
        if isinstance(layout, Layout) and len(layout.sizes) == 2 and min(layout.sizes) > 1
    }


def share_at_their_place(
    net: nn.Module, x: Tensor, grids: Mapping[str, Layout]
) -> dict[str, float]:
    """Return for each layer the share of changed patches that its grid shows where they are."""
    values = _outputs(net, torch.cat([x[:1], *(_changed(x[:1], *place) for place in PLACES)]))
    return {name: _share(layout.to_grid(values[name])) for name, layout in grids.items()}


def _changed(x: Tensor, row: float, column: float) -> Tensor:
    size = max(min(x.shape[2:]) // 16, 4)
    top, left = int(row * x.shape[2]) - size // 2, int(column * x.shape[3]) - size // 2
    changed = x.clone()
    change = torch.linspace(-0.5, 0.5, x.shape[1], dtype=x.dtype)[:, None, None] + 0.1
    changed[0, :, max(top, 0) : top + size, max(left, 0) : left + size] += change
    return changed


@torch.no_grad()
def _outputs(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        first = output[0] if isinstance(output, (list, tuple)) and output else output
        if isinstance(first, Tensor):
            outputs[name] = first

    hooks = [
        module.register_forward_hook(lambda *given, name=name: keep(name, given[2]))
        for name, module in net.named_modules()
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return outputs


def _share(grids: Tensor) -> float:
    changes = (grids[1:] - grids[:1]).double()
    own = changes - changes.mean((2, 3), keepdim=True)
    found = [
        any(_is_at(place, several[number].square().sum(0)) for several in (changes, own))
        for number, place in enumerate(PLACES)
        if changes[number].any()
    ]
    return sum(found) / max(len(found), 1)


def _is_at(place: tuple[float, float], strength: Tensor) -> bool:
    """Whether the strongest position, or the centre of the strong ones, is at a place."""
    wanted = torch.tensor(place) * torch.tensor(strength.shape) - 0.5
    strong = (strength > 0.3 * strength.max()) * strength
    positions = torch.stack(torch.meshgrid(*map(torch.arange, strength.shape), indexing="ij"))
    centre = (positions * strong).sum((1, 2)) / strong.sum()
    peak = positions.flatten(1)[:, strength.argmax()]
    near = 1.6 + 0.05 * max(strength.shape)
    return any(bool(((one - wanted).abs() <= near).all()) for one in (centre, peak))
