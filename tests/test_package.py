"""The package imports PyTorch late, and its public names are what they should be whenever."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from unittest import mock

import pytest

import torchattr as ta


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_importing_the_package_or_its_command_imports_no_torch():
    run(
        "import sys, torchattr, torchattr.cli\n"
        "assert not {'torch', 'torchvision', 'matplotlib'} & set(sys.modules)"
    )


def test_no_public_name_is_that_of_a_module():
    run(
        "import pkgutil, torchattr\n"
        "modules = {module.name for module in pkgutil.iter_modules(torchattr.__path__)}\n"
        "assert not modules & set(torchattr.__all__), modules & set(torchattr.__all__)"
    )


def test_public_names_are_listed_and_others_refused():
    namespace = {}
    exec("from torchattr import *", namespace)
    assert {"GuidedBackprop", "explain", "TorchattrError"} <= namespace.keys() & set(dir(ta))
    with pytest.raises(AttributeError, match="'torchattr' has no attribute 'Saliencies'"):
        _ = ta.Saliencies


def test_a_name_of_a_package_says_where_it_is():
    with pytest.raises(AttributeError, match=r"'check'; torchattr\.evaluate has it"):
        _ = ta.check
    with pytest.raises(AttributeError, match=r"'load_model'; torchattr\.models has it"):
        _ = ta.load_model
    with pytest.raises(AttributeError, match=r"attribute 'GradCam'$") as info:
        _ = ta.GradCam
    # From these, Python suggests what is close.
    assert (info.value.name, info.value.obj) == ("GradCam", ta)
    # The class is meant, not the module of `torchattr.methods`.
    with pytest.raises(AttributeError, match=r"attribute 'saliency'$"):
        _ = ta.saliency


def test_dir_lists_public_names_and_those_of_every_module_only():
    run(
        "import torchattr\n"
        "for _ in range(2):\n"
        "    names = {name for name in dir(torchattr) if not name.startswith('__')}\n"
        "    assert names == set(torchattr.__all__), names ^ set(torchattr.__all__)\n"
        "    torchattr.explain"
    )


def test_version_is_that_of_the_installed_distribution():
    with mock.patch("importlib.metadata.version", return_value="1.2.3"):
        assert ta.__version__ == "1.2.3"
    with mock.patch("importlib.metadata.version", side_effect=PackageNotFoundError):
        assert ta.__version__ == "unknown"


def test_reading_the_version_imports_no_torch():
    run("import sys, torchattr\nassert torchattr.__version__\nassert 'torch' not in sys.modules")
