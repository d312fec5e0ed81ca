"""The packages that stores of maps are written and read with, which are optional."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torchattr.errors import PackageError


def zarr() -> Any:
    """Return the package that writes arrays, of its third version or a later one.

    Raises:
        PackageError: it is not installed, or older.
    """
    package = _package("zarr", "Zarr")
    if int(package.__version__.partition(".")[0]) < 3:
        raise PackageError(
            f"stores of maps need Zarr 3, which needs Python 3.11; found {package.__version__};"
            " install it with: pip install 'torchattr[data]'"
        )
    return package


def parquet() -> Any:
    """Return the module that writes tables.

    Raises:
        PackageError: it is not installed.
    """
    return _package("pyarrow.parquet", "PyArrow")


def arrow() -> Any:
    """Return the package of tables in memory.

    Raises:
        PackageError: it is not installed.
    """
    return _package("pyarrow", "PyArrow")


def compute() -> Any:
    """Return the module that searches tables.

    Raises:
        PackageError: it is not installed.
    """
    return _package("pyarrow.compute", "PyArrow")


def ray() -> Any:
    """Return Ray with its data sets.

    Raises:
        PackageError: it is not installed.
    """
    try:
        import_module("ray.data")
    except ImportError as error:
        raise PackageError(
            f"engine='ray' needs Ray, which could not be imported ({error}); install it with:"
            " pip install 'torchattr[ray]'"
        ) from error
    return import_module("ray")


def _package(name: str, title: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise PackageError(
            f"stores of maps need {title}, which could not be imported ({error}); install it with:"
            " pip install 'torchattr[data]'"
        ) from error
