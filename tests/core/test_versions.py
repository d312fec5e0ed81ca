from unittest import mock

import torch

from torchattr.core.versions import own_version, versions


def test_versions_name_what_results_depend_on():
    found = versions()
    assert found["torch"] == torch.__version__.partition("+")[0]
    assert {"python", "torchattr", "torchvision", "numpy", "pillow"} <= found.keys()


def test_own_version_is_that_of_the_package():
    with mock.patch("importlib.metadata.version", return_value="1.2.3") as version:
        assert own_version() == "1.2.3"
    version.assert_called_once_with("torchattr")
