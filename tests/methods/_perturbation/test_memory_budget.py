"""The number of copies to run at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import assert_same, refused
from peers import classifier, rows
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import torchattr as ta
from torchattr.errors import OutOfMemory
from torchattr.methods._perturbation import memory_budget as batching
from torchattr.methods._perturbation.memory_budget import (
    Footprint,
    fitting,
    has_fixed_batch,
    in_batches,
)

CPU = torch.device("cpu")


def test_the_footprint_counts_what_a_forward_makes() -> None:
    with Footprint() as seen:
        nn.Linear(4, 10)(torch.zeros(2, 4)).relu().split(5, dim=1)
    assert seen.total >= 3 * 2 * 10 * 4
    assert seen.largest >= 2 * 10 * 4
    assert seen.elements == 20 or seen.elements == 40
    assert seen.bytes <= seen.total < seen.bytes_with_graph


def test_the_footprint_of_a_model_leaves_out_what_other_modes_ask() -> None:
    class Asking(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            torch.zeros(1000)
            return func(*args, **(kwargs or {}))

    seen = Footprint()
    with Asking():
        given = torch.zeros(2, 4)
        output = seen.around(nn.Linear(4, 10))(given)
    assert seen.total == given.nbytes + output.nbytes


ROWS = torch.ones(2, 6)
LINEAR = nn.Linear(6, 6)
EACH = ROWS.nbytes

MAKES: dict[str, tuple[Callable[[Tensor], object], int]] = {
    "results": (lambda x: (x + 1).relu(), 2),
    "in place": (lambda x: (x + 1).relu_().mul_(2), 1),
    "in place by an argument": (lambda x: nn.functional.relu(x + 1, inplace=True), 1),
    "in place by an operator": (lambda x: _raised(x + 1), 1),
    "written into a given tensor": (lambda x: torch.add(x, 1, out=x + 1), 1),
    "views": (lambda x: (x + 1).view(3, 4).t()[1:].unsqueeze(0).detach(), 1),
    "expanded": (lambda x: (x + 1)[:, None].expand(2, 50, 6), 1),
    "several views": (lambda x: (x + 1).chunk(2, 1), 1),
    "views of what it is given": (lambda x: x.view(3, 4).expand(5, 3, 4), 0),
    "written over what it is given": (lambda x: x.add_(0), 0),
    "views of parameters": (lambda x: x @ LINEAR.weight.t(), 1),
    "detached parameters": (lambda x: nn.functional.linear(x, LINEAR.weight.detach()), 1),
    "what is gone, one after the other": (lambda x: [x + k for k in range(5)][-1], 5),
}


def _raised(x: Tensor) -> Tensor:
    x += 1
    return x


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", MAKES)
def test_the_footprint_counts_memory_once(name: str, mode: Callable[[], Any]) -> None:
    run, count = MAKES[name]
    with mode(), Footprint() as seen:
        run(ROWS.clone() if mode is not torch.inference_mode else ROWS)
    made = 1 if mode is not torch.inference_mode else 0
    assert seen.total == (count + made) * EACH
    assert seen.largest in (0, EACH)


def test_the_peak_is_of_memory_that_is_alive_at_once() -> None:
    with Footprint() as seen:
        for _ in range(5):
            kept = (ROWS + 1)[0]
            del kept
        first = ROWS + 1
        view = first[1:]
        del first  # The view keeps its memory.
        other = ROWS * 2
    assert seen.total == 7 * EACH
    assert seen.peak == 2 * EACH
    del view, other


def test_the_footprint_sees_inside_attention() -> None:
    """As much as the same attention spelled out, with or without its weights."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.ones(3, 5, 8)
    for needs_weights in (False, True):
        with torch.no_grad(), Footprint() as seen:
            found = attention(x, x, x, need_weights=needs_weights)[0]
        # The projection of queries, keys and values, what they make, and its projection.
        assert seen.total >= 5 * x.nbytes
        with torch.no_grad():
            assert_same(found, attention(x, x, x, need_weights=needs_weights)[0], 1e-6)


def footprint(size: int) -> Footprint:
    seen = Footprint()
    seen.note(torch.empty(size, dtype=torch.uint8, device="meta"))
    return seen


def test_what_fits_is_bounded_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "free_bytes", lambda device: 1000)
    assert fitting(100, footprint(1), 1, CPU) == 5
    assert fitting(600, footprint(1), 1, CPU) == 1
    assert fitting(10**9, footprint(1), 1, CPU) == 1


def test_what_fits_is_bounded_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "free_bytes", lambda device: 2**60)
    assert fitting(1, footprint(1), 1, CPU) == batching.CPU_ROWS
    assert fitting(1, footprint(1), 1000, CPU) == 1
    assert fitting(batching.CPU_BYTES // 3, footprint(1), 1, CPU) == 3
    elsewhere = torch.device("meta")
    assert fitting(1, footprint(2**29), 1, elsewhere) == 3


def test_ranges_are_halved_and_nothing_is_left_out() -> None:
    asked = []

    def evaluate(start: int, stop: int) -> list[int]:
        asked.append(stop - start)
        if stop - start > 3:
            raise torch.OutOfMemoryError("out")
        return list(range(start, stop))

    found = [number for part in in_batches(10, 8, evaluate, "row") for number in part]
    assert found == list(range(10))
    assert asked == [8, 4, 2, 2, 2, 2, 2]


def test_one_that_does_not_fit_and_other_errors() -> None:
    def fail(start: int, stop: int) -> None:
        raise MemoryError

    with refused(OutOfMemory, "single row", "MemoryError"):
        list(in_batches(10, 8, fail, "row"))

    def fault(start: int, stop: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(in_batches(10, 8, fault, "row"))
    assert list(in_batches(0, 8, fault, "row")) == []


def test_exported_models_may_have_a_fixed_batch() -> None:
    model, x = classifier(), rows(2)
    fixed = torch.export.export(model, (x,)).module()
    batch = torch.export.Dim("batch")
    free = torch.export.export(model, (x,), dynamic_shapes=({0: batch},)).module()
    assert has_fixed_batch(fixed)
    assert has_fixed_batch(fixed.forward)
    assert not has_fixed_batch(free)
    assert not has_fixed_batch(model)
    assert not has_fixed_batch(lambda v: model(v))
    assert not has_fixed_batch(torch.fx.symbolic_trace(model))


def test_a_fixed_batch_is_served_copy_by_copy() -> None:
    model, x = classifier(), rows(2)
    fixed = torch.export.export(model, (x,)).module()
    for method in (ta.FeatureAblation, ta.IntegratedGradients, ta.GradientShap):
        expected = method(model).attribute(x, target=1)
        assert_same(method(fixed).attribute(x, target=1), expected, 1e-12)
    found = ta.NoiseTunnel(ta.Saliency(fixed)).attribute(x, target=1, stdevs=0.0)
    assert_same(found, ta.Saliency(model).attribute(x, target=1), 1e-12)
