"""Helpers of several tests: a strict comparison, and plain autograd to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchattr.incremental import Recomputed
from torchattr.layers import Trace, rule_table


def assert_same(actual: Tensor, expected: Tensor, relative: float = 0.0) -> None:
    """Fail unless both agree in form, are finite and not all zero, and differ by nearly nothing.

    `relative` bounds the largest difference as a share of the largest expected magnitude. A
    comparison of zeros proves nothing, so it fails.
    """
    assert actual.dtype == expected.dtype, f"{actual.dtype} is not {expected.dtype}"
    assert actual.shape == expected.shape, f"{actual.shape} is not {expected.shape}"
    assert bool(torch.isfinite(actual).all()), "the result is not finite"
    assert bool(expected.any()), "nothing is compared: the expected values are all zero"
    difference = (actual - expected).abs().max().item()
    allowed = relative * expected.abs().max().item()
    assert difference <= allowed, f"differs by {difference:.3e}, allowed are {allowed:.3e}"


def reported(method: Any, *args: Any, **options: Any) -> tuple[Any, Recomputed]:
    """Return the attributions of an ablation, and its report of what was recomputed."""
    reports: list[Recomputed] = []
    found = method.attribute(*args, report=reports.append, **options)
    (report,) = reports
    return found, report


def autograd(function: Callable[..., Tensor], x: Tensor, target: Callable[[Tensor], Tensor]) -> Any:
    """Return PyTorch's own gradient of the summed target."""
    leaf = x.detach().clone().requires_grad_()
    # A clone, so that an in-place model does not overwrite a leaf.
    (grad,) = torch.autograd.grad(target(function(leaf.clone())).sum(), leaf)
    return grad


def weighted(output: Tensor) -> Tensor:
    """Return a weighted sum of the output of each example; all weights differ."""
    flat = output.flatten(1)
    weights = torch.linspace(-1.0, 1.7, flat.shape[1], dtype=flat.dtype) + 0.1
    return (flat * weights).sum(1)


def sent_back(
    function: Callable[..., Any], x: Tensor, grad: Tensor, rules: dict[str, Any] | None = None
) -> Tensor:
    """Send `grad` from the output of `function` back to `x` under some rules."""
    trace = Trace(function, (x,), tables=[rule_table(rules or {})], key=lambda output: output)
    scores = (trace.output * grad).flatten(1).sum(1)
    (found,) = trace.gradients(scores, trace.input_edges)
    assert found is not None
    return found


class Rectifier(torch.autograd.Function):
    """An independent rectifier with a backward from the literature."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: str) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if ctx.rule in ("gradient", "guided"):
            grad = torch.where(x > 0, grad, 0)
        if ctx.rule in ("deconvolution", "guided"):
            grad = torch.where(grad > 0, grad, 0)
        return grad, None


@contextmanager
def rectifiers(rule: str) -> Iterator[None]:
    """Put the hand-written rectifier in place of PyTorch's: an oracle that uses plain autograd."""

    def relu(x: Tensor, inplace: bool = False) -> Tensor:
        return Rectifier.apply(x, rule)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "relu", relu)
        patch.setattr(torch, "relu", relu)
        patch.setattr(Tensor, "relu", relu)
        yield


def seeded(make: Callable[..., nn.Module], *args: Any, seed: int = 0, **kwargs: Any) -> nn.Module:
    """Make a model in eval mode whose parameters depend on `seed` alone."""
    assert not any(isinstance(value, nn.Module) for value in args), "these parts have no seed"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(*args, **kwargs).eval()


def noise(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


@contextmanager
def refused(kind: type[Exception], *words: str) -> Iterator[None]:
    """Expect an error of this kind whose message contains all these words."""
    with pytest.raises(kind) as info:
        yield
    for word in words:
        assert word in str(info.value), f"{word!r} is missing in: {info.value}"


class Part(nn.Module):
    """A layer that applies a function."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.made = made

    def forward(self, x: Tensor) -> Any:
        return self.made(x)
