import subprocess
import sys

import pytest
from torch import nn

from torchattr.errors import ModelError
from torchattr.models import load_model


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:x", "xpu", "mps", "hpu"])
def test_an_unusable_device_is_named(device):
    with pytest.raises(
        ModelError, match=rf"^device '{device}' cannot be used: [^;\[]+; there are: cpu"
    ):
        load_model("demo", device=device)


def test_a_model_at_hand_needs_no_loading():
    with pytest.raises(ModelError, match=r"spec must be a string, got ReLU.*LoadedModel"):
        load_model(nn.ReLU())


def test_torchvision_is_imported_only_for_its_own_models():
    code = (
        "import sys; from torchattr.models import load_model; load_model('demo', weights='random');"
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
