"""What other threads do with a model changes no bit of this thread's results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread
from typing import Any

import pytest
import torch
from foldable import Net, network
from helpers import noise
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.select import layer_names
from torchattr.core.undoing import undone
from torchattr.inspect.recording.module_stack import ModuleStack
from torchattr.layers import TapPoint
from torchattr.layers.capture import TapRecorder
from torchattr.preparation.copying import shared_copy

Hooks = Callable[[nn.Module], AbstractContextManager[Any]]


def recorder(*parts: str, of_input: bool = False) -> Hooks:
    @contextmanager
    def hooks(model: nn.Module) -> Iterator[None]:
        places = [TapPoint(model.get_submodule(part), of_input) for part in parts]
        with undone() as undo:
            TapRecorder(places, differentiable=True).record(undo)
            yield

    return hooks


OF_OTHERS: dict[str, Hooks] = {
    "recorded outputs": recorder("conv1", "conv2"),
    "recorded inputs": recorder("bn1", "bn2", of_input=True),
    "followed paths": lambda model: ModuleStack(layer_names(model)).following(),
}


@contextmanager
def held_by_another_thread(hooks: AbstractContextManager[Any]) -> Iterator[None]:
    there, done = Event(), Event()

    def hold() -> None:
        with hooks:
            there.set()
            done.wait()

    thread = Thread(target=hold)
    thread.start()
    there.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("name", OF_OTHERS)
def test_hooks_of_another_thread_change_no_bit(name: str) -> None:
    model, x = network(Net).float(), noise(3, 3, 14, 14).float()
    fast = ta.prepare(model, x, channels_last=False)
    output, expected = fast(x), ta.Saliency(fast).attribute(x, target=1)
    with held_by_another_thread(OF_OTHERS[name](fast)):
        assert torch.equal(fast(x), output)
        assert torch.equal(ta.Saliency(fast).attribute(x, target=1), expected)


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_model_is_prepared_while_another_thread_watches_it(name: str) -> None:
    model, x = network(Net), noise(2, 3, 14, 14)
    expected = ta.prepare(model, x, channels_last=False)
    with held_by_another_thread(OF_OTHERS[name](model)):
        fast = ta.prepare(model, x, channels_last=False)
    assert fast.report.folded == expected.report.folded
    assert len(fast.report.folded) == 2
    assert torch.equal(fast(x), expected(x))


def test_hooks_of_a_user_see_true_values_in_every_thread() -> None:
    model, x = network(Net), noise(2, 3, 14, 14)
    fast, kept = ta.prepare(model, x, channels_last=False), []
    handle = fast.conv1.register_forward_hook(lambda module, args, output: kept.append(output))
    with handle, ThreadPoolExecutor(1) as pool:
        pool.submit(fast, x).result()
    assert torch.equal(kept[0], model.conv1(x))


class HooksMeanwhile:
    """A hook that is copied while another thread hooks the same module."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, *call: Any) -> None:
        return None

    def __deepcopy__(self, memo: Any) -> HooksMeanwhile:
        self.module.register_forward_hook(lambda *call: None)
        return HooksMeanwhile(memo[id(self.module)])


def test_a_model_can_be_copied_while_its_hooks_change() -> None:
    model = network(Net)
    for _ in range(2):
        model.conv1.register_forward_hook(HooksMeanwhile(model.conv1))
    copied = shared_copy(model)
    assert [hook.module for hook in copied.conv1._forward_hooks.values()] == [copied.conv1] * 2
    assert len(model.conv1._forward_hooks) == 4


def test_methods_in_several_threads_share_a_prepared_model() -> None:
    model, x = network(Net).float(), noise(3, 3, 14, 14).float()
    fast = ta.prepare(model, x, channels_last=False)
    jobs: list[Callable[[], Tensor]] = [
        lambda: ta.Saliency(fast).attribute(x, target=1),
        lambda: ta.GradCAM(fast, layer="conv1").attribute(x, target=1),
        lambda: ta.GradCAM(fast, layer="conv2").attribute(x, target=1),
        lambda: ta.feature_maps(fast, x, ["conv1", "bn2"])["bn2"],
        lambda: torch.tensor(ta.summary(fast, x).multiply_adds),
        lambda: ta.GuidedBackprop(fast).attribute(x, target=1),
    ]
    alone = [job() for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        given = [(position, pool.submit(jobs[position])) for position in [*range(len(jobs))] * 15]
        results = [(position, future.result()) for position, future in given]
    assert all(torch.equal(result, alone[position]) for position, result in results)
