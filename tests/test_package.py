"""The package imports PyTorch late, and its public names are what they should be whenever."""

import subprocess
import sys

import pytest

import torchattr as ta


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_importing_the_package_or_its_command_imports_no_torch():
    run(
        "import sys, torchattr, torchattr.cli\n"
        "assert not {'torch', 'torchvision', 'matplotlib'} & set(sys.modules)"
    )


def test_explain_is_the_function_although_a_module_has_its_name():
    run(
        "from torchattr.runs import save_explanation\n"
        "import torchattr.explain, torchattr as ta, inspect\n"
        "assert inspect.isfunction(ta.explain)"
    )


def test_public_names_are_listed_and_others_refused():
    namespace = {}
    exec("from torchattr import *", namespace)
    assert {"GuidedBackprop", "explain", "TorchattrError"} <= namespace.keys() & set(dir(ta))
    with pytest.raises(AttributeError, match="'torchattr' has no attribute 'Saliencies'"):
        _ = ta.Saliencies
