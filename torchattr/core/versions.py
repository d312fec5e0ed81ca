"""The versions of the packages that a result depends on."""

from __future__ import annotations

PACKAGES = ("torchattr", "torch", "torchvision", "numpy", "pillow", "triton", "timm", "captum")


def own_version() -> str:
    """Return the version of the installed torchattr; `unknown` in a bare checkout."""
    return _version("torchattr") or "unknown"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that a result depends on.

    >>> {"numpy", "pillow", "python", "torch"} <= set(versions())
    True
    """
    import platform

    numbers = {package: _version(package) for package in PACKAGES}
    installed = {package: number for package, number in numbers.items() if number}
    return {"python": platform.python_version(), **installed}


def _version(package: str) -> str | None:
    # Here, since help needs no version.
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
