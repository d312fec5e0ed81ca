import sys
from types import SimpleNamespace

import pytest

from torchattr.bulk import packages
from torchattr.errors import PackageError


@pytest.mark.parametrize(
    ("load", "name"),
    [
        ("zarr", "zarr"),
        ("parquet", "pyarrow.parquet"),
        ("arrow", "pyarrow"),
        ("compute", "pyarrow.compute"),
    ],
)
def test_a_missing_package_names_the_extra(monkeypatch, load: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PackageError, match=r"pip install 'torchattr\[data\]'"):
        getattr(packages, load)()


def test_an_old_zarr_is_refused(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", SimpleNamespace(__version__="2.18.3"))
    with pytest.raises(PackageError, match=r"Zarr 3, which needs Python 3.11; found 2.18.3"):
        packages.zarr()
