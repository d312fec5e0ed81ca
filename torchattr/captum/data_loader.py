"""Captum's name for the ablation over a data loader."""

from __future__ import annotations

from torchattr import methods
from torchattr.captum.base import CaptumMethod


class DataLoaderAttribution(CaptumMethod, methods.DataLoaderAttribution):
    """:class:`torchattr.methods.DataLoaderAttribution`; Captum's argument names are its own."""
