"""Ctrl-C at any line of the package leaves nothing behind, and the next call is right."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from helpers import noise, seeded
from interrupting import Tracer
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.undoing import Undo, undoing, undone
from torchattr.layers.guards import _stance, enter_mode

PACKAGE = str(Path(ta.__file__).parent)
X = noise(1, 1, 4, 4)


class Interrupt(Tracer):
    """Raises KeyboardInterrupt at one line that runs in some of the package's files."""

    def __init__(self, number: int, files: str = PACKAGE) -> None:
        super().__init__([files])
        self.number = number
        self.lines = 0

    def reached(self, file: str, line: int) -> bool:
        self.lines += 1
        return self.lines == self.number


def small() -> nn.Module:
    layers = (nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    return seeded(lambda: nn.Sequential(*layers)).double()


def traces(model: nn.Module) -> dict[str, Any]:
    """Record everything that may have been left behind."""
    names = [f"_forward{kind}" for kind in ("_hooks", "_pre_hooks")]
    names += [f"{name}_{flag}" for name in names for flag in ("with_kwargs",)]
    names += ["_forward_hooks_always_called"]
    return {
        "hooks": [dict(getattr(part, name)) for part in model.modules() for name in names],
        "modes": torch.overrides._get_current_function_mode_stack(),
        "stance": torch._dynamo.eval_frame._stance,
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "casts": torch.is_autocast_cache_enabled(),
        "users": set(_stance._users),
        "lock": ThreadPoolExecutor(1).submit(_is_free, _stance._lock).result(),
    }


def _is_free(lock: Any) -> bool:
    """Try from another thread: the one that holds a lock may take it again."""
    free = bool(lock.acquire(blocking=False))
    if free:
        lock.release()
    return free


METHODS: dict[str, Callable[[nn.Module], Any]] = {
    "saliency": ta.Saliency,
    "guided_backprop": ta.GuidedBackprop,
    "grad_cam": lambda model: ta.GradCAM(model, "0"),
    "layer_activation": lambda model: ta.LayerActivation(model, "1"),
    "grad_cam_of_input": lambda model: OfInput(ta.GradCAM(model, "1")),
}


class OfInput:
    def __init__(self, cam: ta.GradCAM) -> None:
        self.cam = cam

    def attribute(self, *args: Any) -> Any:
        return self.cam.attribute(*args, attribute_to_layer_input=True)


def interrupted_everywhere(work: Callable[[], Tensor], model: nn.Module, files: str) -> None:
    expected, before = work(), traces(model)
    number = 0
    while True:
        number += 1
        interrupt = Interrupt(number, files)
        try:
            result = interrupt.run(work)
        except KeyboardInterrupt:
            pass
        else:
            # A finaliser or a callback may have swallowed it; the end is where no line is left.
            assert torch.equal(result, expected)
            if interrupt.lines < number:
                break
        assert traces(model) == before, f"at line {number}"
    assert number > 100
    assert torch.equal(work(), expected)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("method", "mode"),
    [
        ("layer_activation", torch.no_grad),
        *(
            pytest.param(method, mode, marks=pytest.mark.slow)
            for method in METHODS
            for mode in (torch.enable_grad, torch.inference_mode)
        ),
    ],
)
def test_nothing_is_left(method: str, mode: Any) -> None:
    model = small()
    attribution = METHODS[method](model)
    arguments = () if method == "layer_activation" else (1,)
    with mode():
        interrupted_everywhere(
            lambda: attribution.attribute(X, *arguments), model, str(Path(PACKAGE, "layers"))
        )


def test_each_step_is_undone_although_one_is_interrupted() -> None:
    done: list[int] = []

    def failing() -> None:
        done.append(0)
        if len(done) == 2:
            raise KeyboardInterrupt

    def work(undo: Undo) -> None:
        undo.later(lambda: done.append(1))
        undo.later(failing)
        undo.later(lambda: done.append(2))

    with pytest.raises(KeyboardInterrupt):
        undoing(work)
    assert done == [2, 0, 0, 1]


def test_what_is_lost_is_undone_but_not_for_the_thread() -> None:
    done: list[str] = []
    undo = Undo()
    undo.later(lambda: done.append("hooks"))
    undo.later(lambda: done.append("of the thread"), of_thread=True)
    del undo
    assert done == ["hooks"]


def test_what_is_about_a_thread_is_left_alone_in_another() -> None:
    done: list[str] = []
    undo = Undo()
    undo.later(lambda: done.append("hooks"))
    undo.later(lambda: done.append("of the thread"), of_thread=True)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(undo.run).result()
    assert done == ["hooks"]


def test_a_mode_that_is_over_lets_all_pass_and_is_taken_away() -> None:
    seen: list[Any] = []

    class Seeing(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with undone() as undo:
        enter_mode(undo, Seeing())
        (left,) = torch.overrides._get_current_function_mode_stack()
        torch.ones(1).abs()
    count = len(seen)
    assert count
    torch.overrides._push_mode(left)
    torch.ones(1).abs()
    assert len(seen) == count
    with undone() as undo:
        enter_mode(undo, Seeing())
        assert len(torch.overrides._get_current_function_mode_stack()) == 1
    assert not torch.overrides._get_current_function_mode_stack()
