import pytest
import torch
from helpers import noise, seeded
from torch import nn

from torchattr.errors import LayerError
from torchattr.inspect.spatial_calls import spatial_calls


class Twice(nn.Module):
    """A convolution, one functional ReLU, one ReLU layer that runs twice, and a head."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.act(self.conv(x))
        x = self.act(torch.relu(x - 0.2) - 0.1)
        return torch.relu(self.head(x.mean((2, 3))))


@pytest.fixture
def model():
    return seeded(Twice)


X = noise(2, 3, 8, 8, dtype=torch.float32)


def test_calls_with_places_are_named_with_their_shapes(model):
    found = spatial_calls(model, X, "r")
    # The rectified scores have no spatial dimensions, so their call is skipped.
    assert list(found) == ["act#1", "act#2", "relu#1"]
    assert set(found.values()) == {torch.Size([4, 6, 6])}
    assert list(spatial_calls(model, X, ["conv", "act#2"])) == ["conv", "act#2"]


def test_a_layer_without_places_is_refused_if_it_was_named(model):
    with pytest.raises(LayerError, match=r"'head' returned \(2, 2\)"):
        spatial_calls(model, X, ["conv", "head"])
    with pytest.raises(LayerError, match="none of these layers"):
        spatial_calls(model, X, "hea*")
    with pytest.raises(LayerError, match="did you mean 'conv'"):
        spatial_calls(model, X, "cnv")
