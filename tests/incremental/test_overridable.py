"""Every function of torch that can be overridden raises nothing of ours and changes no value."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from calling import arguments, functions, is_local, name_of, outcome
from helpers import noise, reported
from torch import Tensor

import torchattr as ta
from torchattr.incremental.arguments import tensors_in
from torchattr.incremental.tape import TapeMode, _written
from torchattr.layers.operations.parsers import writes_in_place

FUNCTIONS = [one for one in functions() if is_local(one)]
ONLY_NOTED = ("requires_grad_", "detach_", "resize_as_", "rename_", "resize_", "set_")
"""Their names look like those of writing functions, but they change metadata only, or nothing."""

WEIGHT = noise(3, 3, 3, 3, seed=3)


def picture() -> Tensor:
    return noise(2, 3, 4, 4).abs() + 0.1


def state_of(tensor: Tensor) -> Any:
    return tensor._version, tensor.shape, tensor.stride()


@pytest.mark.slow
def test_recording_changes_nothing_and_knows_what_is_written_over() -> None:
    for function in FUNCTIONS:
        for make in arguments(function):
            with torch.no_grad():
                args = make(picture())
                alone = outcome(lambda f=function, args=args: f(*args))
                x = picture()
                args, before = make(x), state_of(x)
                recording = TapeMode([x])
                with recording:
                    seen = outcome(lambda f=function, args=args: f(*args))
                recording.finish(seen)
            assert "could not be followed" not in recording.tape.failed, name_of(function)
            assert isinstance(alone, type) == isinstance(seen, type), name_of(function)
            if args[0] is x and not isinstance(seen, type) and seen is not NotImplemented:
                check_detection(function, args, wrote=outcome(lambda: state_of(x)) != before)  # noqa: B023


def check_detection(function: Callable[..., Any], args: tuple[Any, ...], wrote: bool) -> None:
    known = _written(function, args, {}) is not None
    if name_of(function).endswith(ONLY_NOTED):
        assert known
    else:
        assert known == wrote, f"{name_of(function)} {args[1:]}"


def followed(function: Callable[..., Any], make: Any) -> Callable[[Tensor], Tensor]:
    """Return a model that calls a function in its middle, and reads its input again after it."""

    def model(x: Tensor) -> Tensor:
        h = F.conv2d(x, WEIGHT, padding=1).sigmoid() + 0.1
        found = function(*make(h))
        parts = [h, *(one for one in tensors_in(found) if one.dim() and len(one) == len(x))]
        return torch.cat([one.flatten(1).double() for one in parts], dim=1)

    return model


def can_run(model: Callable[[Tensor], Tensor]) -> bool:
    """Whether a model runs, with the same result each time and for each example by itself."""
    x = picture()
    with torch.no_grad():
        once, again = (outcome(lambda: model(x.clone())) for _ in range(2))
        torch.manual_seed(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                other = model(x.repeat(2, 1, 1, 1))
            except Exception:  # noqa: BLE001
                return False
    if isinstance(once, type) or isinstance(again, type) or not once.isfinite().all():
        return False
    return other.shape == (4, once.shape[1]) and torch.equal(other[:2], once)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ablation_gives_what_whole_copies_give() -> None:
    mask = torch.arange(4)[:, None] // 2 * 2 + torch.arange(4) // 2
    compared = 0
    for function in FUNCTIONS:
        models = (followed(function, make) for make in arguments(function))
        model = next((one for one in models if can_run(one)), None)
        if model is None:
            continue
        ablation = ta.FeatureAblation(model)
        options = {"target": ta.Classes(0, 20, 47), "feature_mask": mask}
        try:
            expected = ablation.attribute(picture(), **options, incremental=False)
        except ta.TrainingModeError:
            continue
        found = ablation.attribute(picture(), **options, incremental=True)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, msg=name_of(function))
        compared += 1
    assert compared > 200


POWERS: dict[str, Callable[[Tensor], Tensor]] = {
    "x ** 2": lambda x: x**2,
    "2 ** x": lambda x: 2**x,
    "1 - x": lambda x: 1 - x,
    "1 / x": lambda x: 1 / x,
    "torch.pow": lambda x: torch.pow(x, 1.5),
    "x **= 2": lambda x: x.clone().__ipow__(2),
    "torch.rsub": lambda x: torch.rsub(x, 1),
}
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "x // 0.1": lambda x: x // 0.1,
    "1 // x": lambda x: 1 // x,
    "x % 0.3": lambda x: x % 0.3,
    "x @ W": lambda x: x @ noise(8, 8, seed=5),
    "W @ x": lambda x: noise(8, 8, seed=5) @ x,
    "x > 0.5": lambda x: (x > 0.5).double() + x,
    "~(x < 0.5) & (x < 0.9)": lambda x: (~(x < 0.5) & (x < 0.9)).double() * x,
    "x ^ y": lambda x: ((x > 0.5) ^ (x > 0.7)).double(),
    "x[...] = 1": lambda x: _assigned(x),
    "x[mask] = x": lambda x: _assigned_by_mask(x),
    "x //= 0.1": lambda x: x.clone().__ifloordiv__(0.1),
}


def _assigned(x: Tensor) -> Tensor:
    x[:, :, 2:5, ::2] = 1
    return x


def _assigned_by_mask(x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    total[x > 0.5] = x[x > 0.5]
    total[:, 0] = x[:, 1]
    return total


@pytest.mark.parametrize("name", [*POWERS, *OTHERS])
def test_operators(name: str) -> None:
    operator = (POWERS | OTHERS)[name]

    def model(x: Tensor) -> Tensor:
        return operator(F.conv2d(x, WEIGHT, padding=1).sigmoid()).flatten(1)[:, ::7]

    x = noise(2, 3, 8, 8)
    ablation = ta.Occlusion(model)
    options: dict[str, Any] = {"sliding_window_shapes": (3, 3, 3), "strides": (3, 2, 2)}
    expected = ablation.attribute(x, target=3, incremental=False, **options)
    found, report = reported(ablation, x, target=3, incremental=True, **options)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert (report.whole <= 2) == (name in POWERS), str(report)


def test_writing_is_known_by_schema_and_by_name() -> None:
    aten = torch.ops.aten
    over = (aten.add_.Tensor, aten.relu_.default, Tensor.__ixor__, Tensor.__setitem__, F.relu_)
    apart = (aten.add.Tensor, aten.relu.default, Tensor.__xor__, Tensor.__getitem__, F.relu)
    assert all(writes_in_place(one) for one in over)
    assert not any(writes_in_place(one) for one in apart)


class Own(Tensor):
    """A tensor subclass."""


def test_what_is_no_plain_tensor_is_computed_as_a_whole() -> None:
    def own(x: Tensor) -> Tensor:
        return (x.as_subclass(Own) * 2).relu().as_subclass(Tensor)

    def sparse(x: Tensor) -> Tensor:
        return x.to_sparse().to_dense()

    def mapped(x: Tensor) -> Tensor:
        return torch.func.vmap(lambda one: (one * x).sum((1, 2, 3)))(noise(4, 3, 1, 1)).T

    def negated(x: Tensor) -> Tensor:
        return torch._neg_view(x.clone()) * 3

    for operator in (own, sparse, mapped, negated):
        model = whole_part(operator)
        x = noise(2, 3, 8, 8)
        ablation = ta.Occlusion(model)
        options: dict[str, Any] = {"sliding_window_shapes": (3, 3, 3), "strides": (3, 2, 2)}
        expected = ablation.attribute(x, target=3, incremental=False, **options)
        found = ablation.attribute(x, target=3, incremental=True, **options)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def whole_part(operator: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: operator(F.conv2d(x, WEIGHT, padding=1).sigmoid()).flatten(1)[:, :7]
