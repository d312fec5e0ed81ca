"""The operations as PyTorch's own: checked, compiled, exported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import noise, refused
from torch import Tensor
from torch.library import opcheck

import torchattr as ta
from torchattr.kernels import TorchBackend, Window, order_of

ops = torch.ops.torchattr
WINDOW = Window((3, 2), (2, 2), (1, 0), (1, 1), True)
SETTINGS = (WINDOW.extent, WINDOW.stride, WINDOW.padding, WINDOW.dilation, WINDOW.ceil_mode)
BACKEND = TorchBackend()


def images(seed: int = 1, last: bool = False) -> Tensor:
    x = noise(2, 3, 7, 8, seed=seed, dtype=torch.float32)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def samples(last: bool) -> dict[str, tuple]:
    x, grad = images(1, last), images(2, last)
    order = list(order_of(x))
    _, mask = BACKEND.relu(x)
    values, switches = BACKEND.max_pool(x.relu(), WINDOW)
    scale, shift = noise(3, dtype=torch.float32), noise(3, seed=3, dtype=torch.float32)
    return {
        "relu": (x,),
        "relu, bounded": (x, 0.5),
        "relu_": (x,),
        "relu_backward": (grad, mask, order, "guided"),
        "relu_backward, no mask": (grad, None, order, "deconvolution"),
        "max_pool": (x, *SETTINGS),
        "unpool": (values, switches, x.shape, *SETTINGS),
        "unpool, gated": (values, switches, x.shape, *SETTINGS, "guided"),
        "batch_norm_relu": (x, scale, shift),
        "batch_norm_relu_backward": (grad, mask, scale, order, "gradient"),
    }


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", samples(False))
def test_pytorch_finds_nothing_wrong(name: str, last: bool) -> None:
    opcheck(getattr(ops, name.split(",")[0]).default, samples(last)[name])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", samples(False))
def test_each_gives_what_the_backend_gives(name: str, last: bool) -> None:
    given = samples(last)[name]
    x = given[0].clone()
    result = getattr(ops, name.split(",")[0])(x, *given[1:])
    expected: dict[str, Callable[[], object]] = {
        "relu": lambda: BACKEND.relu(*given),
        "relu_": lambda: BACKEND.relu(*given)[1],
        "relu_backward": lambda: BACKEND.relu_backward(*given),
        "max_pool": lambda: BACKEND.max_pool(given[0], WINDOW),
        "unpool": lambda: BACKEND.unpool(*given[:3], WINDOW),
        "batch_norm_relu": lambda: BACKEND.batch_norm_relu(*given),
        "batch_norm_relu_backward": lambda: BACKEND.batch_norm_relu_backward(*given),
    }
    if name == "unpool, gated":
        wanted: object = BACKEND.unpool_gated(*given[:3], WINDOW, "guided")
    else:
        wanted = expected[name.split(",")[0]]()
    torch.testing.assert_close(result, wanted, rtol=0, atol=0)
    if name == "relu_":
        assert torch.equal(x, given[0].relu())


def guided(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """A network of one layer and its guided backward, using these operations only."""
    rectified, mask = ops.batch_norm_relu(x, scale, shift)
    pooled, switches = ops.max_pool(rectified, *SETTINGS)
    grad = ops.unpool(pooled.square(), switches, x.shape, *SETTINGS, "guided")
    return ops.batch_norm_relu_backward(grad, mask, scale, (0, 1, 2, 3), "guided")


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
def test_compiled_and_exported_code_holds_them() -> None:
    given = (images(), noise(3, dtype=torch.float32), noise(3, seed=3, dtype=torch.float32))
    expected = guided(*given)
    compiled = torch.compile(guided, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(*given), expected)

    class Net(torch.nn.Module):
        def forward(self, *tensors: Tensor) -> Tensor:
            return guided(*tensors)

    program = torch.export.export(Net(), given)
    targets = {str(node.target) for node in program.graph.nodes}
    assert "torchattr.unpool.default" in targets
    assert torch.equal(program.module()(*given), expected)


def test_the_backend_that_is_asked_for_serves() -> None:
    with ta.backend("torch"):
        assert ops.relu(images())[0].min() == 0


def test_an_unknown_gate_is_refused() -> None:
    x = images()
    with refused(ta.BackendError, "gate", "'wide'", "'guided'"):
        ops.relu_backward(x, None, order_of(x), "wide")
