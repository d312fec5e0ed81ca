"""The bytes that a forward saves for its backwards, counted in two independent ways."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import noise, seeded
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

import torchattr as ta
from torchattr.layers import RuleTable, Trace, rule_table

MIB = 2**20
ANCHOR = 4
"""The graph begins at one number of four bytes."""
TABLES: list[RuleTable] = [
    {},
    rule_table({"relu": "guided"}),
    rule_table({"relu": "deconvolution"}),
]


def storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Return the bytes of each distinct storage, by its address."""
    held = (tensor.untyped_storage() for tensor in tensors)
    return {storage.data_ptr(): storage.nbytes() for storage in held if storage.nbytes()}


def own(model: Any, *inputs: Tensor) -> set[int]:
    state = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    return set(storages([*state, *inputs]))


class Saved:
    """First way: every tensor that autograd saves."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    @contextmanager
    def counting(self) -> Iterator[None]:
        def pack(tensor: Tensor) -> Tensor:
            # Only the storage matters; a detached alias keeps no graph alive.
            self.tensors.append(tensor.detach())
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            yield

    def bytes(self, *without: int) -> int:
        return sum(size for at, size in storages(self.tensors).items() if at not in without)


def saved_bytes(run: Callable[[], Any], known: set[int]) -> int:
    saved = Saved()
    with saved.counting():
        kept = run()
    result = saved.bytes(*known)
    del kept
    return result


class Alive(TorchDispatchMode):
    """Second way: every storage that an operation allocated and that is still alive afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for item in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(item, Tensor):
                storage = item.untyped_storage()
                self._made[storage.data_ptr()] = (StorageWeakRef(storage), storage.nbytes())
        return output

    def storages(self) -> dict[int, int]:
        return {at: size for at, (ref, size) in self._made.items() if not ref.expired()}


def reachable(trace: Trace) -> list[Tensor]:
    """Find the tensors that the nodes of the graph hold, saved or as attributes of a call."""
    found: list[Tensor] = []
    waiting, seen = [trace.output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting.extend(below for below, _ in node.next_functions)
        found.extend(getattr(node, "saved_tensors", ()))
        values = list(vars(node).values()) if hasattr(node, "__dict__") else []
        values += [entry for value in values for entry in getattr(value, "__dict__", {}).values()]
        found.extend(value for value in values if isinstance(value, Tensor))
        saved = (getattr(node, name) for name in dir(node) if name.startswith("_saved_"))
        found.extend(value for value in saved if isinstance(value, Tensor))
    return found


def alive_bytes(run: Callable[[], Trace], known: set[int]) -> int:
    gc.collect()
    before = set(storages(_tensors()))
    alive = Alive()
    with alive:
        trace = run()
    gc.collect()
    after = storages(_tensors()) | alive.storages() | storages(reachable(trace))
    return sum(size for at, size in after.items() if at not in before | known)


def _tensors() -> list[Tensor]:
    found = (it for it in gc.get_objects() if type(it) in (Tensor, nn.Parameter))
    return [tensor for tensor in found if has_storage(tensor)]


def has_storage(tensor: Tensor) -> bool:
    """Some versions of torch keep undefined tensors as Python objects."""
    try:
        tensor.untyped_storage()
    except NotImplementedError:
        return False
    return True


def both_ways(model: Any, x: Tensor, tables: list[RuleTable] | None = None) -> tuple[int, int]:
    """Count what one forward saves for all tables, without the scores that it returns."""
    known = own(model, x)
    run = lambda: Trace(model, (x,), tables=tables or TABLES)  # noqa: E731  # run twice
    first = saved_bytes(run, known)
    scores = model(x)
    return first, alive_bytes(run, known) - scores.numel() * scores.element_size() - ANCHOR


def one(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).eval()


X = noise(2, 4, 16, 16, dtype=torch.float32)

BOUND = 2.0

REMEMBERS: dict[str, tuple[Any, list[RuleTable], int]] = {
    "convolution": (one(nn.Conv2d(4, 8, 3, padding=1)), [{}], 0),
    "same convolution": (one(nn.Conv2d(4, 8, 3, padding="same")), [{}], 0),
    "transposed convolution": (one(nn.ConvTranspose2d(4, 8, 3)), [{}], 0),
    "linear": (one(nn.Linear(16, 5)), [{}], 0),
    "batch-norm": (one(nn.BatchNorm2d(4)), [{}], 0),
    "average pool": (one(nn.AvgPool2d(2)), [{}], 0),
    "adaptive average pool": (one(nn.AdaptiveAvgPool2d(3)), [{}], 0),
    "relu: 1 bit": (F.relu, TABLES, X.numel() // 8),
    "relu in place: 1 bit": (lambda x: F.relu(x, inplace=True), TABLES, X.numel() // 8),
    "relu6: 1 bit": (F.relu6, TABLES, X.numel() // 8),
    "relu6 with relevance: 1 bit, and 8 bytes where it is above": (
        lambda x: F.hardtanh(x, 0.0, BOUND),
        [rule_table({"relu": "secant"})],
        X.numel() // 8 + 8 * int((X >= BOUND).sum()),
    ),
    "deconvolution relu": (F.relu, [rule_table({"relu": "deconvolution"})], 0),
    "max-pool: 1 byte": (one(nn.MaxPool2d(3, 2)), [{}], 2 * 4 * 7 * 7),
    "17 x 17 max-pool: 4 bytes": (lambda x: F.max_pool2d(x, 17, 1, 8), [{}], 4 * 2 * 4 * 16 * 16),
    "adaptive max-pool: 4 bytes": (lambda x: F.adaptive_max_pool2d(x, 3), [{}], 4 * 2 * 4 * 9),
    "conv, norm, relu": (
        one(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        TABLES,
        2 * X.numel() // 8,
    ),
    "gelu": (F.gelu, [rule_table({"gelu": "deconvolution"})], 0),
}


@pytest.mark.parametrize("case", REMEMBERS)
def test_operation_remembers(case: str) -> None:
    model, tables, expected = REMEMBERS[case]
    assert both_ways(model, X, tables) == (expected, expected)


def test_both_ways_see_what_plain_autograd_saves() -> None:
    model = one(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU())
    known, expected = own(model, X), 4 * 8 * 2 * 16 * 16
    leaf = X.clone().requires_grad_()
    # The rectifier's result is saved and is the output at once.
    assert saved_bytes(lambda: model(leaf), known | own(None, leaf)) == expected

    class Plain:
        output: Tensor

        def __init__(self) -> None:
            self.output = model(leaf)

    assert alive_bytes(Plain, known | own(None, leaf)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "limit"), [("resnet50", 2 * MIB), ("vgg16", 4 * MIB)])
def test_bytes_for_an_image(name: str, limit: int) -> None:
    models = pytest.importorskip("torchvision").models
    captum = pytest.importorskip("captum.attr")
    model = seeded(getattr(models, name))
    x = noise(1, 3, 224, 224, dtype=torch.float32)
    saved, alive = both_ways(model, x)
    assert 0 < saved <= limit
    assert saved <= alive <= limit
    known = own(model, x)
    with pytest.warns(UserWarning, match="Setting backward hooks on ReLU"):
        theirs = saved_bytes(
            lambda: captum.GuidedBackprop(model).attribute(x.clone().requires_grad_(), target=0),
            known,
        )
    assert saved * 10 < theirs


@pytest.mark.parametrize("rule", ["gradient", "guided", "deconvolution"])
def test_no_gradient_of_a_parameter_is_computed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.LayerNorm(14), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(8 * 14 * 14, 3)),
        )
    )
    asked: list[Any] = []
    original = torch.ops.aten.convolution_backward

    def spy(*args: Any) -> Any:
        asked.append(args[-1])
        return original(*args)

    monkeypatch.setattr(torch.ops.aten, "convolution_backward", spy)
    touched: list[str] = []
    for name, parameter in model.named_parameters():
        parameter.register_hook(lambda grad, name=name: touched.append(name))
    ta.Saliency(model, rules={"relu": rule}, memory="lean").attribute(X, target=1)
    assert asked == [(True, False, False)]
    assert touched == []
    assert all(parameter.grad is None for parameter in model.parameters())


def test_parameters_that_depend_on_others_get_no_gradient_either() -> None:
    """Weight norm recomputes the weight from parameters in each forward."""
    layer = nn.utils.parametrizations.weight_norm(seeded(nn.Conv2d, 4, 8, 3))
    run = lambda: Trace(layer, (X,), tables=TABLES)  # noqa: E731
    # What is left alive is the computed weight, which the backward needs.
    assert saved_bytes(run, own(layer, X)) == 0
    ta.Saliency(layer).attribute(X, target=lambda output: output.flatten(1).sum(1))
    assert all(parameter.grad is None for parameter in layer.parameters())
