import torch

from torchattr.core.versions import versions


def test_versions_name_what_results_depend_on():
    found = versions()
    assert found["torch"] == torch.__version__.partition("+")[0]
    assert {"python", "torchattr", "torchvision", "numpy", "pillow"} <= found.keys()
