"""The effect of functions on axes, against their effect on the elements."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.layers.layouts.axes import BATCH, OTHER, bare_label
from torchattr.layers.layouts.layout import Coordinate
from torchattr.layers.layouts.table import RULES
from torchattr.layers.layouts.tracker import LayoutTracker
from torchattr.layers.layouts.views import MovedAxes

Run = Callable[[Tensor], Tensor]


def labels(run: Run, *shape: int) -> list[Any]:
    """Return which coordinates of `(N, C, y, x)` each dimension of the result of `run` has."""
    x = torch.rand(*shape)
    tracker = LayoutTracker([x])
    with tracker:
        result = run(x)
    axes = tracker.axes(result)
    assert axes is not None
    return [_named(one.labels) for one in axes]


def _named(found: Any) -> str:
    found = map(bare_label, found)
    joined = "".join(
        "cyx"[one.dim - 1]
        if isinstance(one, Coordinate)
        else "m"
        if isinstance(one, MovedAxes)
        else {BATCH: "n", OTHER: "-"}[one]
        for one in found
    )
    return joined or "-"


def sampled(x: Tensor) -> Tensor:
    return F.grid_sample(x, torch.zeros(len(x), 5, 5, 2), align_corners=False)


def written(target: Tensor, key: Any, value: Any) -> Tensor:
    target[key] = value
    return target


WEIGHT = torch.rand(5, 3, 3, 3)
MIXING = torch.rand(7, 6)

CASES: dict[str, tuple[Run, str]] = {
    "conv2d": (lambda x: F.conv2d(x, WEIGHT, padding=1), "n - y x"),
    "conv_transpose2d": (lambda x: F.conv_transpose2d(x, WEIGHT.transpose(0, 1)), "n - y x"),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), "n - y x"),
    "permute": (lambda x: x.permute(0, 2, 3, 1), "n y x c"),
    "movedim": (lambda x: x.movedim(1, -1), "n y x c"),
    "mT": (lambda x: x.mT, "n c x y"),
    "transpose_": (lambda x: x.clone().transpose_(1, 3), "n x y c"),
    "flatten": (lambda x: x.flatten(2), "n c yx"),
    "unsqueeze": (lambda x: x[:, None], "n - c y x"),
    "squeeze": (lambda x: x.mean(1, keepdim=True).squeeze(1), "n y x"),
    "mean": (lambda x: x.mean((2, 3)), "n c"),
    "keepdim": (lambda x: x.amax(dim=3, keepdim=True), "n c y -"),
    "max of two": (lambda x: torch.max(x, x * 2), "n c y x"),
    "max along": (lambda x: x.max(1)[0], "n y x"),
    "linear": (lambda x: F.linear(x, MIXING), "n c y -"),
    "matmul": (lambda x: x.flatten(2) @ x.flatten(2).mT, "n c c"),
    "einsum": (lambda x: torch.einsum("nchw->nhwc", x), "n y x c"),
    "einsum of two": (lambda x: torch.einsum("nchw,dc->nhwd", x, torch.rand(2, 3)), "n y x -"),
    "cat of channels": (lambda x: torch.cat([x, x], 1), "n - y x"),
    "cat of rows": (lambda x: torch.cat([x, x], 3), "n c y -"),
    "cat of examples": (lambda x: torch.cat([x, x]), "- c y x"),
    "stack": (lambda x: torch.stack([x, x], 1), "n - c y x"),
    "unfold": (lambda x: F.unfold(x, 2, stride=2), "n - yx"),
    "fold": (lambda x: F.fold(F.unfold(x, 2, stride=2), (4, 6), 2, stride=2), "n - y x"),
    "Tensor.unfold": (lambda x: x.unfold(3, 2, 2), "n c y x x"),
    "overlapping": (lambda x: x.unfold(3, 3, 1), "n c y x -"),
    "roll": (lambda x: x.roll(1, 3), "n c y m"),
    "roll back": (lambda x: x.roll((1, 2), (2, 3)).roll((-1, -2), (2, 3)), "n c y x"),
    "flip": (lambda x: x.flip(3), "n c y m"),
    "flip back": (lambda x: x.flip(3).flip(3), "n c y x"),
    "flip examples": (lambda x: x.flip(0), "m c y x"),
    "fft2": (lambda x: torch.fft.fft2(x).abs(), "n c m m"),
    "rfft2 and back": (lambda x: torch.fft.irfft2(torch.fft.rfft2(x)), "n c y x"),
    "fftn and back": (lambda x: torch.fft.ifftn(torch.fft.fftn(x)).real, "n c y x"),
    "fftshift": (lambda x: torch.fft.fftshift(x, dim=2), "n c m x"),
    "list": (lambda x: x[:, [2, 1, 0]], "n - y x"),
    "list of examples": (lambda x: x[[0]], "- c y x"),
    "mask": (lambda x: x[:, :, torch.tensor([True, False, True, True])], "n c - x"),
    "slice": (lambda x: x[:, :2, ::2, 1:5], "n c y x"),
    "integer": (lambda x: x[:, 1], "n y x"),
    "sort": (lambda x: x.sort(1)[0], "n - y x"),
    "argsort last": (lambda x: x.argsort(), "n c y -"),
    "topk": (lambda x: x.topk(2, dim=2)[0], "n c - x"),
    "index_select": (lambda x: x.index_select(1, torch.tensor([1])), "n - y x"),
    "gather": (lambda x: x.gather(1, x.argsort(1)), "n - y x"),
    "repeat": (lambda x: x.repeat(1, 2, 1, 1), "n - y x"),
    "tile": (lambda x: x.tile(2), "n c y -"),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, 2), "n c y x"),
    "glu": (lambda x: F.glu(torch.cat([x, x], 1), 1), "n - y x"),
    "grid_sample": (lambda x: sampled(x), "n c m m"),
    "masked_select": (lambda x: x.masked_select(x > 0.5), "-"),
    "expand": (lambda x: x[:, :1].expand(-1, 3, -1, -1), "n - y x"),
    "view_as another": (lambda x: (x + 0).flatten().sort()[0].view_as(x), "- - - -"),
    "softmax": (lambda x: x.softmax(1), "n c y x"),
    "where": (lambda x: torch.where(x > 0, x, torch.zeros(())), "n c y x"),
    "pad": (lambda x: F.pad(x, (1, 1, 1, 1)), "n c y x"),
    "setitem": (lambda x: written(x + 1, (0, 1), x[0, 1]), "n c y x"),
    "setitem of a part": (lambda x: written(x + 1, ..., x[..., :1]), "n c y x"),
    "setitem of a constant": (lambda x: written(x + 1, [0, 1], 0.0), "n c y x"),
    "setitem of another dimension": (
        lambda x: written(x[..., :4] + 1, ..., x[..., :4].mT),
        "- - - -",
    ),
    "setitem in another order": (lambda x: written(x + 1, [1, 0], x), "- - - -"),
    "index_put": (lambda x: x.index_put([torch.tensor([1, 0])], x), "- - - -"),
    "setitem of all of a new tensor": (
        lambda x: written(torch.empty(x.mT.shape), ..., x.mT),
        "n c x y",
    ),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2.0), "n - y x"),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), "n - y x"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_labels(name: str) -> None:
    run, wanted = CASES[name]
    assert labels(run, 2, 3, 4, 6) == wanted.split(" ")


@pytest.mark.parametrize("name", CASES)
def test_equal_sizes_do_not_confuse(name: str) -> None:
    """No dimension is mistaken for another of the same size."""
    run, wanted = CASES[name]
    try:
        found = labels(run, 4, 4, 4, 4)
    except (RuntimeError, IndexError):
        pytest.skip("the function does not take this shape")
    assert found == wanted.split(" ") or all(set(one) <= {"-"} for one in found)


def test_every_rule_names_a_function_of_pytorch() -> None:
    from torch.overrides import get_testing_overrides

    from torchattr.layers.operations.names import base_name

    known = {base_name(function) for function in get_testing_overrides()}
    aten = {
        name.split("::")[1].split(".")[0].strip("_")
        for name in torch._C._dispatch_get_all_op_names()
    }
    aliases = {"fn", "boolean_dispatch", "rmatmul", "roi_align", "roi_pool", "ps_roi_align", "vmap"}
    aliases |= {"upsample", "vector_norm"}
    assert set(RULES) - known - aten - aliases == set()
