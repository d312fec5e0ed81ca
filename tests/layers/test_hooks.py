"""Hooks of one thread do nothing in another, nor in a copy of the module."""

from __future__ import annotations

import copy
import pickle
from threading import Thread
from typing import Any

import torch
from torch import nn

from torchattr.layers.hooks import ThreadHook, any_acts


def in_another_thread(work: Any) -> Any:
    results: list[Any] = []
    thread = Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def test_only_its_own_thread_is_served() -> None:
    seen: list[Any] = []
    hook = ThreadHook(lambda *args, **kwargs: seen.append((args, kwargs)) or 7)
    assert hook(1, two=2) == 7
    assert in_another_thread(lambda: hook(3)) is None
    assert seen == [((1,), {"two": 2})]
    assert any_acts({0: hook})
    assert not in_another_thread(lambda: any_acts({0: hook}))
    assert in_another_thread(lambda: any_acts({0: hook, 1: print}))


def test_a_copy_serves_nobody() -> None:
    module, seen = nn.ReLU(), []
    module.register_forward_hook(ThreadHook(lambda *call: seen.append(call)))
    module.register_forward_pre_hook(ThreadHook(lambda *call: seen.append(call)), with_kwargs=True)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        other(torch.ones(1))
        assert not any_acts(other._forward_hooks)
        assert not any_acts(other._forward_pre_hooks)
    assert not seen
    module(torch.ones(1))
    assert len(seen) == 2
