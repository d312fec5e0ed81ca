"""The part of a model behind a layer, on other values of the layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchattr.incremental import Diverged, NoSuffix, Suffix


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.last, self.ran = nn.Linear(4, 2), 0

    def forward(self, x: Tensor, scale: Any = 1.0) -> Tensor:
        h = self.first(x)
        token = torch.full((1, 1, 1, 1), 2.0).expand(len(x), 4, *h.shape[2:])
        h = torch.stack([h, token]).sum(0)
        h = h + self.second(h).relu_()
        return self.last(h.mean((2, 3))) * scale


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.mark.parametrize("layer", ["first", "second", "last"])
def test_copies_with_other_values(layer: str) -> None:
    model, x = net(), torch.rand(2, 3, 6, 6)
    module = model.get_submodule(layer)
    scale = torch.tensor([[2.0], [3.0]])
    suffix = Suffix(model, [x], [scale], module)
    torch.testing.assert_close(suffix.value, hooked(model, module, x, scale)[1])
    values = torch.randn(3 * 2, *suffix.value.shape[1:])
    found = suffix.around(model, values.clone(), 3)(scale.repeat(3, 1))
    expected, _ = hooked(model, module, x.repeat(3, 1, 1, 1), scale.repeat(3, 1), values)
    torch.testing.assert_close(found, expected)


def hooked(
    model: nn.Module, module: nn.Module, x: Tensor, scale: Tensor, values: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        seen.append(output.clone())
        return None if values is None else values.clone()

    handle = module.register_forward_hook(hook)
    with torch.no_grad():
        output = model(x, scale)
    handle.remove()
    return output, seen[0]


class Counted(TorchFunctionMode):
    """Counts the convolutions that run in it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (torch.conv2d, nn.functional.conv2d)
        return func(*args, **(kwargs or {}))


def test_what_comes_before_the_layer_does_not_run_again() -> None:
    model, x = net(), torch.rand(2, 3, 6, 6)
    for layer, behind in ((model.first, 1), (model.second, 0)):
        suffix = Suffix(model, [x], (), layer)
        with Counted() as counted:
            suffix.around(model, suffix.value.clone(), 1)()
        assert counted.count == behind
    assert not any(module._forward_hooks for module in model.modules())


def test_values_that_it_cannot_follow() -> None:
    model, x = net(), torch.rand(2, 3, 6, 6)
    with pytest.raises(NoSuffix, match="does not compute"):
        Suffix(nn.Sequential(nn.Identity(), model), [x], (), nn.Identity())

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.same(x * 2) + 1

    same = Same()
    with pytest.raises(NoSuffix, match="does not compute"):
        Suffix(same, [x], (), same.same)


def test_a_model_that_goes_another_way() -> None:
    class Moody(Net):
        def forward(self, x: Tensor, scale: Any = 1.0) -> Tensor:
            return super().forward(x if len(x) == 2 else x + 1, scale)

    torch.manual_seed(0)
    model, x = Moody().eval(), torch.rand(2, 3, 6, 6)
    suffix = Suffix(model, [x], (), model.second)
    with pytest.raises(Diverged):
        suffix.around(model, suffix.value.repeat(2, 1, 1, 1), 2)()
