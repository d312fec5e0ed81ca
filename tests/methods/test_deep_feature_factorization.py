"""Deep feature factorization: planted concepts, and what the model says of them."""

from __future__ import annotations

import pytest
import torch
from cam_networks import Deep, Pooled, images, seeded
from helpers import refused
from networks import pictures, vit
from torch import Tensor, nn

import torchattr as ta


class Planted(nn.Module):
    """Its layer holds two concepts, each in its half of the image; its head names them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Identity(), nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x * 1).mean((2, 3)))


def planted() -> tuple[Tensor, Tensor]:
    vectors = torch.tensor([[3.0, 1, 0, 0], [0, 0, 1, 2]])
    maps = torch.zeros(2, 2, 4, 6)
    maps[:, 0, :, :3], maps[:, 1, :, 3:] = 1.0, 2.0
    maps[1] *= 1.5
    return torch.einsum("nkhw,kc->nchw", maps, vectors), maps


def test_planted_concepts_are_found() -> None:
    x, maps = planted()
    found = ta.deep_feature_factorization(Planted().eval(), x, "layer", 2)
    assert found.error < 1e-3
    order = found.scores.argmax(1).argsort()
    assert found.labels(["left", "right"], 1) == [["left", "right"][k] for k in order.argsort()]
    shown = found.maps[:, order]
    share = shown / shown.amax((0, 2, 3), keepdim=True)
    torch.testing.assert_close(share, maps / maps.amax((0, 2, 3), keepdim=True), atol=1e-2, rtol=0)
    rebuilt = torch.einsum("nkhw,kc->nchw", found.maps, found.vectors)
    torch.testing.assert_close(rebuilt, x, atol=1e-2, rtol=0)


def test_scores_are_those_of_the_rest_of_the_model() -> None:
    net, x = seeded(Pooled), images()
    found = ta.deep_feature_factorization(net, x, "body", 3)
    expected = net.get_submodule("head")(found.vectors + found.offset)
    torch.testing.assert_close(found.scores, expected.detach())
    assert float(found.vectors.min()) >= 0
    assert float(found.maps.min()) >= 0


def test_more_concepts_leave_less() -> None:
    net, x = seeded(Deep), images()
    errors = [ta.deep_feature_factorization(net, x, "norm", k).error for k in (1, 3, 6)]
    assert errors == sorted(errors, reverse=True)
    values = ta.LayerActivation(net, "norm").attribute(x)
    found = ta.deep_feature_factorization(net, x, "norm", 6)
    rebuilt = torch.einsum("nkhw,kc->nchw", found.maps, found.vectors)
    left = values - rebuilt - found.offset.view(1, -1, 1, 1)
    shifted = values - found.offset.view(1, -1, 1, 1)
    assert float(left.norm() / shifted.norm()) == pytest.approx(found.error, rel=1e-6)


def test_tokens_seeds_and_default_layer() -> None:
    net, x = vit(1), pictures(2, 3, 8, 12)
    found = ta.deep_feature_factorization(net, x, "blocks.0", 2)
    assert found.maps.shape == (2, 2, 4, 6)
    again = ta.deep_feature_factorization(net, x, "blocks.0", 2)
    torch.testing.assert_close(found.maps, again.maps, rtol=0, atol=0)
    other = ta.deep_feature_factorization(net, x, "blocks.0", 2, seed=1)
    assert not torch.equal(found.maps, other.maps)
    with pytest.warns(ta.LayerChoiceWarning):
        ta.deep_feature_factorization(seeded(Pooled), images(), n_concepts=2)


def test_bad_numbers_are_refused() -> None:
    net, x = seeded(Pooled), images()
    with refused(ta.InputError, "n_concepts is 8", "7 channels"):
        ta.deep_feature_factorization(net, x, "body", 8)
    with refused(ta.InputError, "n_concepts", "0"):
        ta.deep_feature_factorization(net, x, "body", 0)
    with refused(ta.InputError, "seed"):
        ta.deep_feature_factorization(net, x, "body", 2, seed=-1)
