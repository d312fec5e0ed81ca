"""What a user writes; a type checker must know the types of the results without help."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import torchattr as ta
from torchattr import evaluate

model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
images = torch.rand(2, 3, 8, 8)
pair = (images, images)


def joint(first: Tensor, second: Tensor) -> Tensor:
    scores: Tensor = model(first) + model(second)
    return scores


assert_type(ta.Saliency(model).attribute(images, target=3), Tensor)
assert_type(ta.Saliency(joint).attribute(pair, ta.TopK(2), abs=False), tuple[Tensor, Tensor])
assert_type(ta.GuidedBackprop(model).attribute(images, [1, 2]), Tensor)
assert_type(ta.Deconvolution(model).attribute(images, torch.tensor([1, 2])), Tensor)
assert_type(ta.InputXGradient(model).attribute(images), Tensor)

# A tensor, a tuple or a dict: that depends on the layers, which a type checker cannot know.
cam: Tensor = ta.GradCAM(model, layer="1").attribute(images, target=3, relu_attributions=True)
at_layer: Tensor = ta.LayerConductance(model, "1").attribute(images, target=3)
by_layer: dict[str, Tensor] = ta.GradCAM(model, layer=["0", "1"]).attribute(images, target=3)

assert_type(ta.Saliency(model).attribute(images, ta.Difference(3, [1, 2])), Tensor)
assert_type(ta.Saliency(model).attribute(images, ta.Probability(3)), Tensor)
assert_type(ta.RISE(model).attribute(images, ta.Classes(1, ta.Probability(2))), Tensor)

curve = evaluate.deletion_curve(model, images, images, 3, steps=4, baselines="mean", output=None)
assert_type(curve, evaluate.Curve)
assert_type(curve.aopc, Tensor)
assert_type(evaluate.irof(model, images, images, 3, size=4, activation="sigmoid"), Tensor)

occlusion = ta.Occlusion(model)
assert_type(occlusion.attribute(images, (3, 2, 2), strides=(3, 1, 1), target=1), Tensor)
assert_type(
    ta.Occlusion(joint).attribute(pair, ((3, 2, 2), (3, 4, 4)), strides=(2, (3, 2, 2))),
    tuple[Tensor, Tensor],
)
assert_type(ta.RISE(model).attribute(images, ta.Classes(0, 2), n_masks=8), Tensor)

integrated = ta.IntegratedGradients(model)
assert_type(integrated.attribute(images, target=1), Tensor)
heat, delta = integrated.attribute(images, target=1, return_convergence_delta=True)
assert_type(heat, Tensor)
assert_type(delta, Tensor)

shap = ta.GradientShap(model)
assert_type(shap.attribute(images, images, target=1), Tensor)
assert_type(shap.attribute(images, lambda x: x.flip(0), 3, seed=[1, 2]), Tensor)
heat, delta = shap.attribute(images, 0.5, target=1, return_convergence_delta=True)
assert_type(heat, Tensor)
assert_type(delta, Tensor)
assert_type(
    ta.GradientShap(joint).attribute(pair, (0.0, images), stdevs=(0.0, 0.1)),
    tuple[Tensor, Tensor],
)

lift = ta.DeepLift(model)
assert_type(lift.attribute(images, 0.5, target=1), Tensor)
heat, delta = lift.attribute(images, target=ta.TopK(2), return_convergence_delta=True)
assert_type(heat, Tensor)
assert_type(delta, Tensor)
assert_type(ta.DeepLift(joint).attribute(pair, (0.0, images)), tuple[Tensor, Tensor])
lift_shap = ta.DeepLiftShap(model)
assert_type(lift_shap.attribute(images, images, target=1, internal_batch_size=2), Tensor)
heat, delta = lift_shap.attribute(images, lambda x: x / 2, return_convergence_delta=True)
assert_type(heat, Tensor)
assert_type(delta, Tensor)
assert_type(ta.DeepLiftShap(joint).attribute(pair, (images, images)), tuple[Tensor, Tensor])


class Attending(nn.Module):
    """Four patches and their attention to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        scores: Tensor = self.head(self.block(tokens).mean(1))
        return scores


attending = Attending().eval()
rollout = ta.AttentionRollout(attending, head_fusion="max", discard_ratio=0.1)
assert_type(rollout.attribute(images), Tensor)
assert_type(ta.RawAttention(attending, queries="mean").attribute(images, target=1), Tensor)
assert_type(ta.AttentionGradient(attending, "block").attribute(images, ta.TopK(2)), Tensor)
assert_type(ta.LeGrad(attending, "block").attribute(images, target=1, rescaled=False), Tensor)

relevance: Tensor = ta.LRP(model, {"conv": "z_plus"}, zero_params="bias").attribute(images, 3)
ledger: ta.Ledger = ta.AttnLRP(model, gamma=0.05).ledgers(images, target=3)[0]
assert_type(ledger.by_reason(), dict[str, float])
assert_type(ledger.table(), str)
libra: tuple[Tensor, list[ta.Ledger]] = ta.LibraGrad(model).attribute(images, return_ledger=True)

explanation = ta.explain(model, images, ["saliency", "grad_cam"], targets=ta.TopK(3), layer="1")
assert_type(explanation["saliency"], Tensor)
assert_type(explanation.scores, Tensor)
assert_type(explanation.targets, Tensor | None)
assert_type(ta.explain(joint, pair, "guided_backprop")["guided_backprop"], tuple[Tensor, Tensor])
options = {"saliency": {"abs": False}, "grad_cam": {"relu_attributions": True}}
assert_type(ta.explain(model, images, options, layer="1")["saliency"], Tensor)


def loudest(explained: ta.Explanation[Tensor]) -> float:
    return float(explained["saliency"].abs().max())


loudest(explanation)


@ta.register_method("doubled")
class Doubled(ta.GradientAttribution):
    """Twice the gradient."""

    def finish(self, inputs: Tensor, grads: Tensor) -> Tensor:
        return 2 * grads


assert_type(Doubled(model).attribute(images, target=0), Tensor)

prepared = ta.prepare(model, images)
assert_type(ta.Saliency(prepared).attribute(images, target=3), Tensor)

dream = ta.deepdream(model, images[:1], "1", steps=1, octaves=1)
assert_type(dream, Tensor)
summary: str = repr(explanation)
