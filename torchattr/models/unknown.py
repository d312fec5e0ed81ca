"""Say why a text names no model, and which text would."""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from torchattr.core.paths import expanded
from torchattr.core.registry import closest, suggest
from torchattr.errors import Hint, ModelError, WayOut

FORMS = (
    "demo",
    "lite0",
    "torchvision:NAME",
    "timm:NAME",
    "path/to/file.py:FUNCTION",
    "path/to/exported.pt2",
)
"""The forms of a model specification."""

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")
_FOREIGN = (".onnx", ".h5", ".hdf5", ".keras", ".tflite", ".pb", ".engine", ".mlmodel", ".gguf")
_FUNCTION_OF_FILE = "path/to/file.py:FUNCTION"


def unknown_model(spec: str) -> ModelError:
    """Return the error for a text that names no model.

    Nothing is loaded and no code is run to find out what was meant.

    >>> print(unknown_model("demos"))
    unknown model 'demos'; did you mean 'demo'?
    """
    name, colon, _ = spec.rpartition(":")
    named = colon and expanded(name, ModelError).is_file()
    path = expanded(name if named else spec, ModelError)
    suffix = path.suffix.lower()
    if suffix == ".py":
        return ModelError(_without_function(path))
    if suffix in (*_PICKLES, *_FOREIGN, ".safetensors"):
        return _of_file(path) if path.is_file() else ModelError(f"there is no file {path}")
    if colon and path.is_file():
        return ModelError(f"{path} is not a Python file; write {_FUNCTION_OF_FILE}")
    meant = list(_meant(spec))
    if meant:
        return ModelError(f"unknown model {spec!r}; did you mean {' or '.join(map(repr, meant))}?")
    return ModelError(f"unknown model {spec!r}; use one of: {', '.join(FORMS)}")


def _without_function(path: Path) -> str:
    if not path.is_file():
        return f"there is no file {path}"
    names = _functions(path)
    example = names[0] if len(names) == 1 else "FUNCTION"
    return (
        f"{path} is a Python file; name the function in it that returns the model, as"
        f" {path}:{example}; {suggest('', names)}"
    )


def _functions(path: Path) -> list[str]:
    """Return the functions that a file defines, from its text."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return []
    functions = (one.name for one in tree.body if isinstance(one, ast.FunctionDef))
    return [name for name in functions if not name.startswith("_")]


def _of_file(path: Path) -> ModelError:
    """Return the error for a file that holds a model in a form that is not read."""
    suffix = path.suffix.lower()
    if suffix in _FOREIGN:
        return ModelError(
            f"{path} is not a PyTorch model, and only the operations of those can be followed;"
            f" make the model in PyTorch, and pass {_FUNCTION_OF_FILE}"
        )
    if suffix == ".safetensors":
        return _weights_only(f"{path} holds weights, but not the model that they belong to", path)
    if _is_scripted(path):
        return ModelError(
            f"{path} is a scripted model (TorchScript), which hides its operations; pass the"
            f" function that makes the model itself, as {_FUNCTION_OF_FILE}"
        )
    return _weights_only(
        f"{path} is a pickle: reading a model from it would run any code that its author put"
        " there, and needs the model's own code anyway",
        path,
    )


def _weights_only(fault: str, path: Path) -> ModelError:
    way_out = f"name the model, such as {_FUNCTION_OF_FILE}, and read its weights with {{setting}}"
    return ModelError(fault, hint=Hint(ways_out=[WayOut(way_out, "weights", str(path))]))


def _is_scripted(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _meant(spec: str) -> Iterator[str]:
    """Yield the specifications that a name without a scheme may stand for."""
    if re.match(r"(hf[-_]hub|local-dir):", spec):
        yield f"timm:{spec}"
        return
    if not re.fullmatch(r"\w[\w.]*", spec):
        return
    yield from closest(spec, ("demo", "lite0"), cutoff=0.7)
    from torchvision.models import list_models

    for scheme, names in {"torchvision": list_models(), "timm": _names_of_timm(spec)}.items():
        meant = [spec] if spec in names else closest(spec, names, most=2, cutoff=0.75)
        yield from (f"{scheme}:{name}" for name in meant)


def _names_of_timm(spec: str) -> list[str]:
    """Return timm's models where it is installed; it takes seconds to import."""
    if find_spec("timm") is None:
        return []
    from timm import list_models

    # Names of pretrained weights follow the name of the model.
    return list_models(f"{spec.partition('.')[0]}*")
