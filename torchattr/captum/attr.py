"""Captum's names for the methods, `captum.attr`: all of :mod:`torchattr.captum`.

It is for scripts in which `captum` was replaced by `torchattr.captum` as a text.

>>> from torchattr.captum.attr import Saliency, visualization
>>> Saliency.get_name()
'Saliency'
"""

from __future__ import annotations

from torchattr.captum import *  # noqa: F403
from torchattr.captum.elsewhere import refuse as _refuse

__path__: list[str] = []  # so that `refuse` knows an import


def __getattr__(name: str) -> object:
    return _refuse(name, __name__)
