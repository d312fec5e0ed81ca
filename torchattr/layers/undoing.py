"""What the layers take of :mod:`torchattr.undoing`."""

from torchattr.undoing import Undo, undoing, undone

__all__ = ["Undo", "undoing", "undone"]
