"""What the shell completes, without importing PyTorch, which takes too long between two keys."""

from __future__ import annotations

MODELS = ("demo", "lite0", "torchvision:", "timm:", "timm:hf-hub:")
"""What a model begins with, unless it is in a file of one's own."""


def methods(incomplete: str) -> list[str]:
    """Return the names of methods that begin so.

    >>> methods("guided_")
    ['guided_backprop', 'guided_grad_cam']
    """
    from torchattr.cli.method_list import method_rows

    return [row.name for row in method_rows() if row.name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Return what a model may begin with.

    >>> models("t")
    ['torchvision:', 'timm:', 'timm:hf-hub:']
    """
    return [name for name in MODELS if name.startswith(incomplete)]
