import numpy as np
import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.errors import LayerError, ShapeError
from torchattr.integrations import FixedPanels
from torchattr.methods import GradCAM


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(),
        nn.Linear(144, 5),
    )  # fmt: skip


INPUTS = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_each_picture_has_a_panel():
    panels = FixedPanels(INPUTS, ["grad_cam", "saliency"], layer="2", names=["cat", "dog"], cell=64)
    drawn = panels.draw(network())
    assert [name for name, _ in drawn] == ["cat", "dog"]
    assert all(picture.width > 3 * 64 for _, picture in drawn)
    assert [name for name, _ in FixedPanels(INPUTS, "saliency").draw(network())] == ["00", "01"]


def test_the_weights_of_each_time_are_drawn():
    model = network()
    panels = FixedPanels(INPUTS, "saliency", cell=64)
    before = np.asarray(panels.draw(model)[0][1])
    assert np.array_equal(before, np.asarray(panels.draw(model)[0][1]))
    with torch.no_grad():
        model[0].weight.mul_(-1)
    assert not np.array_equal(before, np.asarray(panels.draw(model)[0][1]))


def test_nothing_of_the_training_changes():
    model = network().train()
    model[1].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    model(INPUTS).sum().backward()
    kept = {name: one.clone() for name, one in model.state_dict().items()}
    gradients = [one.grad.clone() for one in model.parameters()]
    torch.manual_seed(5)
    FixedPanels(INPUTS, {"rise": {"n_masks": 3}, "saliency": {}}).draw(model)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(kept[name], one) for name, one in model.state_dict().items())
    assert all(
        torch.equal(before, one.grad)
        for before, one in zip(gradients, model.parameters(), strict=True)
    )


def test_modes_come_back_after_a_refusal():
    model = network().train()
    with pytest.raises(LayerError):
        FixedPanels(INPUTS, "grad_cam", layer="none").draw(model)
    assert all(module.training for module in model.modules())


def test_inputs_take_the_precision_of_the_weights():
    panels = FixedPanels(INPUTS, [GradCAM], ta.TopK(2), layer="2", cell=64)
    assert len(panels.draw(network().double())) == 2


@pytest.mark.parametrize("argument", ["images", "names"])
def test_counts_must_fit(argument):
    with pytest.raises(ShapeError, match=f"{argument} has 1 entries for 2 inputs"):
        FixedPanels(INPUTS, **{argument: ["a"]})
