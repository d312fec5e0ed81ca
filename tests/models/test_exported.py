import pytest
import torch
from PIL import Image
from torch import nn

from torchattr.errors import ModelError, WeightsError
from torchattr.models import TransformWarning, load_model


def export(path, *shape):
    net = nn.Sequential(nn.Conv2d(shape[1], 2, 1), nn.ReLU(), nn.Flatten()).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(shape),)), path)
    return net


def test_an_exported_program_gives_the_same_scores(tmp_path):
    net = export(tmp_path / "net.pt2", 1, 3, 32, 32)
    with pytest.warns(TransformWarning, match=r"centre crop of 32 pixels"):
        loaded = load_model(str(tmp_path / "net.pt2"))
    x = loaded.preprocess(Image.new("RGB", (50, 40), "red")).tensor[None]
    torch.testing.assert_close(loaded.model(x), net(x))
    assert not loaded.model.training


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ModelError, match="there is no file"):
        load_model(str(tmp_path / "none.pt2"))
    (tmp_path / "bad.pt2").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="damaged or was not written by"):
        load_model(str(tmp_path / "bad.pt2"))
    torch.save({}, tmp_path / "state.pt2")
    with pytest.raises(ModelError, match="could not be loaded by"):
        load_model(str(tmp_path / "state.pt2"))


def test_what_does_not_apply_is_refused(tmp_path):
    export(tmp_path / "net.pt2", 1, 1, 8, 8)
    with pytest.raises(ModelError, match=r"square RGB pictures.*\(1, 1, 8, 8\)"):
        load_model(str(tmp_path / "net.pt2"))
    with pytest.raises(WeightsError, match="holds its own weights"):
        load_model(str(tmp_path / "net.pt2"), weights="w.pth")
