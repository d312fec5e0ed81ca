"""Rectifiers written as arithmetic are rectifiers; other masks are not."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers.operations.parsers import MaskOrigins

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")


def set_item(h: Tensor) -> Tensor:
    h = h.clone()
    h[h < 0] = 0
    return h


def fill_in_place(h: Tensor) -> Tensor:
    h = h * 1.0
    h.masked_fill_(h <= 0, 0)
    return h


def multiply_in_place(h: Tensor) -> Tensor:
    h = h * 1.0
    h *= h > 0
    return h


def without_a_graph(h: Tensor) -> Tensor:
    with torch.no_grad():
        mask = (h > 0).to(h.dtype)
    return h * mask


RECTIFIERS = {
    "where": lambda h: torch.where(h > 0, h, 0),
    "where at least zero": lambda h: torch.where(h >= 0, h, torch.zeros_like(h)),
    "where reversed": lambda h: torch.where(h < 0, 0, h),
    "Tensor.where": lambda h: h.where(h > 0, torch.zeros((), dtype=h.dtype)),
    "aten.where": lambda h: torch.ops.aten.where.ScalarOther(h > 0, h, 0),
    "product": lambda h: h * (h > 0),
    "product reversed": lambda h: (h > 0) * h,
    "product with floats": lambda h: torch.mul(h, (h > 0).to(h.dtype)),
    "masked_fill": lambda h: h.masked_fill(h < 0, 0),
    "masked_fill_": fill_in_place,
    "set item": set_item,
    "product in place": multiply_in_place,
    "a mask turned over": lambda h: h * ~(h <= 0),
    "turned over twice": lambda h: torch.where(~~(h > 0), h, 0),
    "logical_not": lambda h: h.masked_fill(torch.logical_not(h > 0), 0),
    "zero on the left": lambda h: h * (0 < h),  # noqa: SIM300  # this form is what is tested
    "a tensor of zeros": lambda h: h * torch.gt(h, torch.zeros(())),
    "detached": lambda h: h * (h.detach() > 0).double(),
    "data": lambda h: h * (h.data > 0),
    "a view of the whole": lambda h: h * (h.view_as(h) > 0).to(h),
    "integers": lambda h: h * (h > 0).int(),
    "aten": lambda h: torch.ops.aten.mul.Tensor(h, torch.ops.aten.gt.Scalar(h, 0)),
    "heaviside": lambda h: h * torch.heaviside(h.detach(), torch.zeros_like(h)),
    "type_as": lambda h: (h > 0).type_as(h) * h,
    "without a graph": without_a_graph,
}


@pytest.fixture
def layers() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(a, b).double() for a, b in ((4, 16), (16, 16), (16, 3))]


def network(layers: list[nn.Linear], rectify: Callable[[Tensor], Tensor]) -> Callable:
    first, second, third = layers
    return lambda x: third(rectify(second(torch.relu(first(x)))))


@pytest.mark.parametrize("method", [ta.Saliency, ta.GuidedBackprop, ta.Deconvolution])
@pytest.mark.parametrize("spelling", RECTIFIERS)
def test_equals_relu(layers: list[nn.Linear], spelling: str, method: type) -> None:
    x = torch.randn(5, 4, dtype=torch.float64)
    expected = method(network(layers, torch.relu)).attribute(x, target=1)
    found = method(network(layers, RECTIFIERS[spelling])).attribute(x, target=1)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("bias", [50.0, -50.0], ids=["all open", "all closed"])
@pytest.mark.parametrize("method", [ta.Saliency, ta.GuidedBackprop, ta.Deconvolution])
def test_a_mask_of_one_value_is_one_of_a_rectifier(
    layers: list[nn.Linear], method: type, bias: float
) -> None:
    x = torch.randn(5, 4, dtype=torch.float64)
    with torch.no_grad():
        layers[1].bias.fill_(bias)
    expected = method(network(layers, torch.relu)).attribute(x, target=1)
    for spelling in ("product", "where", "masked_fill", "set item"):
        found = method(network(layers, RECTIFIERS[spelling])).attribute(x, target=1)
        assert torch.equal(found, expected)


def test_an_example_does_not_depend_on_its_company(layers: list[nn.Linear]) -> None:
    with torch.no_grad():
        layers[1].bias.fill_(5)
    guided = ta.GuidedBackprop(network(layers, RECTIFIERS["product"]))
    x = torch.cat([torch.randn(1, 4).double() * 0.1, torch.randn(4, 4).double() * 90])
    assert torch.allclose(guided.attribute(x, 1)[:1], guided.attribute(x[:1], 1))


def also_reversed(h: Tensor) -> Tensor:
    mask = h > 0
    mask.logical_not_()
    return h * mask


def written_over(h: Tensor) -> Tensor:
    h = h * 1.0
    mask = h > 0
    h.neg_()
    return h * mask


def freed(h: Tensor) -> Tensor:
    mask = h.exp() > 0
    return h.exp() * mask


def like_itself(h: Tensor) -> Tensor:
    return h * torch.tensor((h > 0).tolist())


OTHERS = {
    "equal values of another origin": like_itself,
    "a mask that was written over": also_reversed,
    "a tensor that was written over": written_over,
    "a tensor that is gone": freed,
    "a part": lambda h: torch.cat([h[:, :4] * (h[:, 4:8] > 0), h[:, 4:]], 1),
    "a copy": lambda h: h * (h.flip(0).flip(0) > 0),
    "both masks": lambda h: h * ((h > 0) & (h > 0.5)),
    "the mask of another tensor": lambda h: h * (h.flip(1) > 0),
    "a mask at another threshold": lambda h: torch.where(h > 0.1, h, 0),
    "another filling": lambda h: h.masked_fill(h < 0, -0.5),
    "a scale": lambda h: h * torch.full_like(h, 2.0),
    "positive elements removed": lambda h: h.masked_fill(h > 0, 0),
}


# A mask may leave nothing of an example, with a warning.
@pytest.mark.filterwarnings("ignore::torchattr.errors.DisconnectedWarning")
@pytest.mark.parametrize("other", OTHERS)
def test_other_masks_keep_their_gradient(layers: list[nn.Linear], other: str) -> None:
    x = torch.randn(5, 4, dtype=torch.float64)
    model = network(layers, OTHERS[other])
    explained = ta.explain(model, x, ["saliency", "guided_backprop"], targets=1)
    assert explained.notes["guided_backprop"] == "1 relu call, 1 rewritten"
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    assert torch.equal(explained["saliency"][:, 0], expected.abs())


MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda x, mask: x * mask,
    "where": lambda x, mask: torch.where(mask.bool(), x, 0),
    "masked_fill": lambda x, mask: x.masked_fill(~mask.bool(), 0),
    "set item": lambda x, mask: x.clone().index_put((~mask.bool(),), torch.zeros(()).double()),
}


@pytest.mark.parametrize("method", [ta.GuidedBackprop, ta.Deconvolution])
@pytest.mark.parametrize("form", MASKS)
def test_a_mask_beside_the_picture_is_none_of_a_rectifier(
    layers: list[nn.Linear], form: str, method: type
) -> None:
    """An image that is positive where its mask is 1, and zero elsewhere."""
    mask = torch.ones(5, 4, dtype=torch.float64)
    mask[:, 2:] = 0
    x = torch.rand(5, 4, dtype=torch.float64) * mask

    def forward(x: Tensor, mask: Tensor) -> Tensor:
        return layers[2](torch.relu(layers[0](MASKS[form](x, mask))))

    expected = method(lambda x: layers[2](torch.relu(layers[0](x)))).attribute(x, target=1) * mask
    found = method(forward).attribute(x, target=1, additional_forward_args=mask)
    assert torch.allclose(found, expected)


FORWARDS: dict[str, Callable[[Tensor], Tensor]] = {
    "a wider type": lambda h: h.float() * (h.float() > 0).double(),
    "a wider zero": lambda h: torch.where(h.float() > 0, h.float(), torch.zeros(1).double()),
    "a zero of more rows": lambda h: torch.where(h > 0, h, torch.zeros(2, 1, 1))[1],
    "an infinity": lambda h: (h / 0 * (h > 0)).nan_to_num(3.0),
}


@pytest.mark.parametrize("form", FORWARDS)
def test_the_output_is_that_of_the_model(layers: list[nn.Linear], form: str) -> None:
    def forward(x: Tensor) -> Tensor:
        return FORWARDS[form](layers[2](torch.relu(layers[0](x)))).double()

    x = torch.randn(5, 4, dtype=torch.float64)
    assert torch.equal(ta.explain(forward, x, ["saliency"], targets=1).output, forward(x))


def test_masks_keep_nothing_alive() -> None:
    masks = MaskOrigins()
    h = torch.randn(3).requires_grad_() * 1
    mask = h > 0
    masks.note(Tensor.gt, (h, 0), {}, mask)
    assert masks.is_positive(mask, h)
    held = [weakref.ref(h), weakref.ref(mask)]
    del h, mask
    assert [one() for one in held] == [None, None]


def test_remembers_one_bit_an_element(layers: list[nn.Linear]) -> None:
    saved: list[Tensor] = []
    keep = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t)
    with keep:
        ta.GuidedBackprop(lambda x: layers[1](torch.where(x > 0, x, 0))).attribute(
            torch.randn(8, 16, dtype=torch.float64), target=0
        )
    assert [(t.dtype, t.numel()) for t in saved] == [(torch.uint8, 16)]
