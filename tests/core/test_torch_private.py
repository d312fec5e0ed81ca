"""Private names of PyTorch are named in one module, and each of them works."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import torchattr
from torchattr.core import torch_private

PACKAGE = Path(torchattr.__file__).parent
OTHERS = sorted(set(PACKAGE.rglob("*.py")) - {Path(torch_private.__file__)})


def private_names(tree: ast.AST) -> list[str]:
    """Return the private modules and names of PyTorch that a module imports or names in full."""
    dotted: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            dotted += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            dotted += [ast.unparse(node)] if _is_dotted(node) else []
    torchs = [name.split(".") for name in dotted if name.startswith("torch.")]
    return [".".join(parts) for parts in torchs if any(map(_is_private, parts))]


def _is_dotted(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (
        isinstance(node, ast.Attribute) and _is_dotted(node.value)
    )


def _is_private(part: str) -> bool:
    return part.startswith("_") and not part.endswith("__")


def is_operator(name: str) -> bool:
    """Whether a name is one of an operator, which PyTorch registers under it."""
    return name.startswith("torch.ops.")


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_module_names_one(path: Path) -> None:
    names = private_names(ast.parse(path.read_text(encoding="utf-8")))
    assert [name for name in names if not is_operator(name)] == []


@pytest.mark.parametrize("source", ["import torch._C", "from torch import _C", "torch._C.x()"])
def test_private_names_are_found(source: str) -> None:
    assert private_names(ast.parse(source))


@pytest.mark.parametrize("name", torch_private.__all__)
def test_every_name_exists(name: str) -> None:
    assert getattr(torch_private, name) is not None


def test_gradient_mode_is_set_without_a_context() -> None:
    with torch.enable_grad():
        torch_private.set_grad_enabled(False)
        assert not torch.is_grad_enabled()


def test_the_engine_returns_gradients() -> None:
    x = torch.tensor([3.0], requires_grad=True)
    (grad,) = torch_private.engine_run_backward(
        (x * x,), (torch.ones(1),), False, False, (x,), True, accumulate_grad=False
    )
    assert grad.item() == 6


def test_modes_are_seen_and_left() -> None:
    mode = torch.overrides.BaseTorchFunctionMode()
    mode.__enter__()
    assert torch_private.function_mode_stack() == [mode]
    torch_private.pop_function_mode()
    assert torch_private.function_mode_stack() == []


def test_gradients_that_stand_for_several_are_seen() -> None:
    seen = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch_private.is_mapped(x))
        return x

    torch_private.vmap_with_none(look, 0, 0)(torch.ones(2, 3))
    look(torch.ones(2, 3))
    assert seen == [True, False]


def test_transforms_are_seen() -> None:
    seen = []

    def look(x: torch.Tensor) -> torch.Tensor:
        stack = torch_private.get_interpreter_stack()
        assert stack is not None
        assert torch_private.peek_interpreter_stack() is not None
        seen.append(stack[0].key() == torch_private.TransformType.Vmap)
        seen.append(torch_private.is_functorch_wrapped_tensor(x))
        assert torch_private.get_unwrapped(x).shape == (2, 3)
        return x

    torch.func.vmap(look)(torch.ones(2, 3))
    assert seen == [True, True]
    assert torch_private.peek_interpreter_stack() is None


def test_the_stance_of_the_compiler_is_set_again() -> None:
    torch.compiler.reset()  # Loads the compiler.
    before = torch_private.dynamo_stance()
    torch.compiler.set_stance("force_eager")
    torch_private.set_dynamo_stance(before)
    assert torch_private.dynamo_stance() == before


def test_a_compiler_that_is_being_loaded_has_no_stance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo.eval_frame", ModuleType("half"))
    assert torch_private.dynamo_stance() is None


def test_an_opened_function_shows_its_calls_to_a_mode() -> None:
    seen: list[str] = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    function = torch.nn.functional.local_response_norm
    x = torch.linspace(-1.0, 2.0, 24).view(2, 3, 4)
    with Watch():
        function(x, 2)
        assert "local_response_norm" in seen
        seen.clear()
        found = torch_private.opened(function)(x, 2)
    assert "local_response_norm" not in seen
    assert {"mul", "avg_pool2d"} <= set(seen)
    assert torch.equal(found, function(x, 2))
    assert torch_private.opened(function) is torch_private.opened(function)
