"""What is right, found in other ways than the library's: PyTorch's own graph, hooks and loops.

A rectifier is recognised by the node that PyTorch records for it, whatever the model called, and
its backward is rewritten by a hook of that node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from families import Member
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from torchattr.core.outputs import select_output


@dataclass
class Case:
    """A model that was made, and the inputs it is asked about."""

    name: str
    member: Member
    model: nn.Module
    inputs: tuple[Tensor, ...]
    known: dict[str, Any] = field(default_factory=dict)
    """What several tests ask for, found once."""

    @property
    def given(self) -> Any:
        """The inputs as the library takes them: a tensor, or a tuple of several."""
        return self.inputs if len(self.inputs) > 1 else self.inputs[0]

    def scores(self, output: Any) -> Tensor:
        key = self.member.output
        if callable(key):
            return key(output)
        if key is not None:
            return output[key]
        return output if isinstance(output, Tensor) else next(iter(output.values()))

    def score(self, output: Any) -> Tensor:
        """Give the explained score of each example."""
        target = self.member.target
        return self.scores(output)[(slice(None), *(target if type(target) is tuple else (target,)))]


def made(name: str, member: Member) -> Case:
    """Make a model with weights and statistics under which every part of it matters."""
    torch.manual_seed(0)
    model = member.make().eval()
    model = model.to(member.dtype)
    _enliven(model)
    inputs = [torch.randn(member.batch, *shape, dtype=member.dtype) for shape in member.shapes]
    _calibrate(model, [torch.cat([one, one.flip(-1), -one]) for one in inputs])
    return Case(name, member, model.eval(), tuple(inputs))


@torch.no_grad()
def _enliven(model: nn.Module) -> None:
    """Fill what begins as zero or nearly so: scales of branches, heads, tokens and positions."""
    for parameter in model.parameters():
        if parameter.abs().max() < 1e-3:
            parameter.normal_(std=0.1).add_(0.3 if parameter.dim() == 1 else 0)


def _calibrate(model: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Let batch-norms see the signals that they will normalise, which else explode or vanish."""
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    if norms:
        with torch.no_grad():
            model(*inputs)


def forward(case: Case) -> tuple[Any, list[Tensor]]:
    """Run the model under plain autograd; give what it returned, and the inputs as leaves.

    The graph holds what depends on the inputs, and nothing that depends on parameters alone. No
    module works in place: of a view, PyTorch would hide the operation's node in another.
    """
    leaves = [one.clone().requires_grad_() for one in case.inputs]
    learning = [one for one in case.model.parameters() if one.requires_grad]
    in_place = [one for one in case.model.modules() if getattr(one, "inplace", False) is True]
    _set(learning, "requires_grad", False)
    _set(in_place, "inplace", False)
    try:
        # Clones, so that a model that writes to its input does not write over a leaf.
        return case.model(*(leaf.clone() for leaf in leaves)), leaves
    finally:
        _set(learning, "requires_grad", True)
        _set(in_place, "inplace", True)


def _set(objects: Sequence[Any], name: str, value: bool) -> None:
    for one in objects:
        setattr(one, name, value)


@contextmanager
def arithmetic_batch_norm() -> Iterator[None]:
    """Write batch-norm out: PyTorch's backward of it is wrong for gradients in some strides."""
    own = F.batch_norm

    def batch_norm(x: Tensor, mean: Any, var: Any, *args: Any, **options: Any) -> Tensor:
        given = dict(zip(("weight", "bias", "training", "momentum", "eps"), args, strict=False))
        given.update(options)
        if given.get("training") or mean is None:
            return own(x, mean, var, **given)
        form = (-1, *[1] * (x.dim() - 2))
        scale = (var + given.get("eps", 1e-5)).rsqrt() * (
            1 if given.get("weight") is None else given["weight"]
        )
        shift = 0 if given.get("bias") is None else given["bias"].view(form)
        return (x - mean.view(form)) * scale.view(form) + shift

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "batch_norm", batch_norm)
        yield


def own_outputs(case: Case) -> list[Tensor]:
    """Give the scores as PyTorch finds them with a graph, with that of the inputs, and with none.

    They may differ in the last bits: some operations run otherwise where nothing is followed.
    """
    inputs = [one.clone() for one in case.inputs]
    followed = case.scores(case.model(*inputs))
    with torch.no_grad():
        alone = case.scores(case.model(*(one.clone() for one in case.inputs)))
    return [followed, case.scores(forward(case)[0]), alone]


def gradients(case: Case, rule: str = "gradient") -> list[Tensor] | None:
    """Give the gradients of the score under a rule for rectifiers; `None` if nothing connects."""
    if rule not in case.known:
        case.known[rule] = _gradients(case, rule)
    return case.known[rule]


def _gradients(case: Case, rule: str) -> list[Tensor] | None:
    with arithmetic_batch_norm():
        output, leaves = forward(case)
    score = case.score(output)
    if not score.requires_grad:
        return None
    handles = [
        node.register_hook(REWRITTEN[rule])
        for node in nodes_below([score])
        if rule != "gradient" and is_rectifier(node)
    ]
    found = torch.autograd.grad(score.sum(), leaves, allow_unused=True)
    for handle in handles:
        handle.remove()
    return None if any(one is None for one in found) else list(found)


def rectifiers(case: Case, *, of_scores: bool = False) -> int:
    """Count the rectifiers between the inputs and any tensor that the model returns.

    Args:
        case: the model.
        of_scores: count only those below the entry that holds the scores.
    """
    known = f"rectifiers {of_scores}"
    if known not in case.known:
        output, _ = forward(case)
        chosen = select_output(output, case.member.output) if of_scores else output
        tensors = [one for one in tree_leaves(chosen) if isinstance(one, Tensor)]
        case.known[known] = sum(map(is_rectifier, nodes_below(tensors)))
    return case.known[known]


def nodes_below(tensors: Sequence[Tensor]) -> set[Any]:
    waiting = [one.grad_fn for one in tensors if one.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        below = {node for node, _ in waiting.pop().next_functions if node is not None} - seen
        seen |= below
        waiting += below
    return seen


def is_rectifier(node: Any) -> bool:
    """Tell whether a node is `max(x, 0)`, with or without an upper bound."""
    name = node.name()
    if name.startswith("HardtanhBackward"):
        return node._saved_min_val == 0
    if name.startswith("ClampBackward1"):
        return node._saved_min == 0
    if name.startswith("ClampMinBackward0"):
        return node._saved_min == 0
    if name.startswith("ThresholdBackward"):
        return node._saved_threshold == 0
    return name.startswith("ReluBackward")


def _guided(sent_back: Sequence[Tensor], from_above: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    return tuple(one if one is None else one.clamp(min=0) for one in sent_back)


def _deconvolution(
    sent_back: Sequence[Tensor], from_above: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    return (from_above[0].clamp(min=0), *sent_back[1:])


REWRITTEN: dict[str, Callable[..., Any]] = {"guided": _guided, "deconvolution": _deconvolution}


def occlusion(case: Case, sizes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Put zeros into each place of a grid of windows, and give it what the score loses."""
    with torch.no_grad():
        clean = case.score(case.model(*(one.clone() for one in case.inputs)))
        maps = [torch.zeros_like(one) for one in case.inputs]
        for position, size in enumerate(sizes):
            for window in _windows(case.inputs[position].shape[1:], size):
                changed = [one.clone() for one in case.inputs]
                changed[position][(slice(None), *window)] = 0
                lost = clean - case.score(case.model(*changed))
                place = maps[position][(slice(None), *window)]
                place.copy_(lost.reshape(-1, *[1] * len(size)).expand_as(place))
    return maps


def _windows(shape: Sequence[int], size: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    starts = [range(0, extent, width) for extent, width in zip(shape, size, strict=True)]
    for corner in product(*starts):
        yield tuple(slice(a, a + width) for a, width in zip(corner, size, strict=True))


def grad_cam(case: Case, layer: str) -> Tensor:
    """Weight each channel of what a layer gave last by its mean gradient, and sum them.

    Raises:
        Unreadable: the layer's output shows no grid of the input's places.
    """
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            kept[:] = [one for one in tree_leaves(output) if isinstance(one, Tensor)][:1]
            return None
        kept[:] = [output]
        return output.clone()  # what comes next may write over it

    handle = dict(case.model.named_modules())[layer].register_forward_hook(keep)
    try:
        with arithmetic_batch_norm():
            output, _ = forward(case)
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(case.score(output).sum(), kept, allow_unused=True)
    if gradient is None:
        raise Unreadable(f"{layer} does not lie on the way to the score")
    value, gradient = (channels_first(case, one) for one in (kept[0], gradient))
    places = tuple(range(2, value.dim()))
    return (value * gradient.mean(places, keepdim=True)).sum(1, keepdim=True).detach()


class Unreadable(Exception):
    """A layer that has no map."""


def channels_first(case: Case, value: Tensor) -> Tensor:
    """Bring a layer's output into `(N, C, places)` by the form that its grid must have."""
    size = case.member.shapes[0][1:]
    if len(value) != case.member.batch:
        raise Unreadable(f"{tuple(value.shape)} has another batch")
    if value.dim() == len(size) + 2:
        if _is_grid(value.shape[2:], size):
            return value
        if _is_grid(value.shape[1:-1], size):
            return value.movedim(-1, 1)
    if value.dim() == 3:
        for prefix in sorted({0, case.member.prefix}):
            grid = _grid_of(value.shape[1] - prefix, size, case.member.frames)
            if grid:
                return value[:, prefix:].transpose(1, 2).unflatten(2, grid)
    raise Unreadable(f"{tuple(value.shape)} has no grid like the input's {size}")


def _is_grid(grid: Sequence[int], size: Sequence[int]) -> bool:
    """Tell whether places make a picture: one step over the input's rows and columns alike."""
    (height, width), (rows, columns) = grid[-2:], size[-2:]
    steps = range(1, max(rows, columns))
    found = {(rows // step, columns // step) for step in steps}
    found |= {(-(-rows // step), -(-columns // step)) for step in steps}
    return (height, width) in found and width > 1


def _grid_of(tokens: int, size: Sequence[int], frames: int | None) -> tuple[int, ...] | None:
    steps = [step for step in range(2, min(size[-2:])) if not any(s % step for s in size[-2:])]
    for step in steps:
        plane = [extent // step for extent in size[-2:]]
        if len(size) == 2 and prod(plane) == tokens > 1:
            return tuple(plane)
        if len(size) == 3 and tokens > 1 and tokens % prod(plane) == 0:
            depth = tokens // prod(plane)
            if size[0] % depth == 0 and depth == (frames or depth):
                return (depth, *plane)
    return None
