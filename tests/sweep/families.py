"""The smallest member of each family of timm and torchvision, made without weights.

What is large is made shallower or narrower by keywords of its own. Inputs are as small as a model
takes them, and wider than high where it does, so that an axis read in place of another shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.video.mvit import MSBlockConfig, MViT

SIZE = (64, 96)
_CLIP = (8, 32, 48)
_TEN = {"num_classes": 10}


@dataclass(frozen=True)
class Member:
    """A model, and how it is asked.

    Attributes:
        make: makes it; nothing is downloaded.
        shapes: of its inputs, without the batch.
        prefix: how many tokens stand before those of the grid, in a model that works on tokens.
        frames: of its grid, where its tokens could be read in several ways.
        output: which part of what it returns holds the scores.
        target: which of the scores is explained.
        batch: how many examples are explained at once.
        dtype: float64 wherever the model allows it.
        rounding: the largest difference by rounding, as a share of the largest value.
    """

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...] = ((3, *SIZE),)
    prefix: int = 0
    frames: int | None = None
    output: Any = None
    target: Any = 1
    batch: int = 2
    dtype: torch.dtype = torch.float64
    rounding: float = 1e-9


def _timm(
    name: str,
    size: tuple[int, int] = SIZE,
    *,
    sized: bool = False,
    prefix: int = 0,
    batch: int = 2,
    rounding: float = 1e-9,
    adapt: Callable[[nn.Module], object] = lambda model: None,
    **options: Any,
) -> Member:
    """Describe a model of timm; `sized` ones are told the size of their inputs."""
    told = {"img_size": size} if sized else {}

    def make() -> nn.Module:
        model = timm.create_model(name, pretrained=False, num_classes=10, **told, **options)
        adapt(model)
        return model

    return Member(make, ((3, *size),), prefix, batch=batch, rounding=rounding)


def _vision(
    name: str,
    size: tuple[int, ...] = SIZE,
    *,
    adapt: Callable[[nn.Module], object] = lambda model: None,
    options: dict[str, Any] | None = None,
    **asked: Any,
) -> Member:
    """Describe a model of torchvision; `adapt` changes what no option of it does."""

    def make() -> nn.Module:
        model = models.get_model(name, **(_TEN if options is None else options))
        adapt(model)
        return model

    return Member(make, asked.pop("shapes", ((3, *size),)), **asked)


def _detector(
    name: str,
    adapt: Callable[[nn.Module], object] = lambda model: None,
    batch: int = 2,
    **options: Any,
) -> Member:
    """Describe a detector whose best two detections count, however low their scores are."""
    own = {"weights": None, "weights_backbone": None, "num_classes": 4, **options}
    return _vision(name, options=own, adapt=adapt, output=best_scores, target=0, batch=batch)


def best_scores(detections: list[dict[str, Tensor]]) -> Tensor:
    return torch.stack([one["scores"][:2] for one in detections])


def _few_blocks(model: Any) -> None:
    model.blocks = model.blocks[:3]


def _pool_everything(model: Any) -> None:
    """Let a network for one size of video take any."""
    model.avgpool = nn.AdaptiveAvgPool3d(1)


def _small_pictures(model: Any) -> None:
    """Let a detector look at pictures of another size than it resizes them to."""
    model.transform.min_size, model.transform.fixed_size = (128,), (128, 128)


def _maxvit() -> nn.Module:
    return models.MaxVit(
        (64, 64), 16, 2, [16, 32, 32], [1, 1, 1], 16, stochastic_depth_prob=0, num_classes=10
    )


def _mvit() -> nn.Module:
    def block(channels: int, wider: int, stride: int) -> MSBlockConfig:
        strides = ([1, stride, stride], [1, 2, 2])
        return MSBlockConfig(2, channels, wider, [3, 3, 3], [3, 3, 3], *strides)

    blocks = [block(16, 16, 1), block(16, 32, 2), block(32, 32, 1)]
    options = {"residual_pool": True, "residual_with_cls_embed": False, "rel_pos_embed": True}
    return MViT(_CLIP[1:], _CLIP[0], blocks, proj_after_attn=True, num_classes=10, **options)


TIMM: dict[str, Member] = {
    "beit": _timm("beit_base_patch16_224", sized=True, prefix=1, depth=2),
    "byoanet": _timm("eca_botnext26ts_256", sized=True),
    "byobnet": _timm("test_byobnet"),
    "cait": _timm("cait_xxs24_224", sized=True, prefix=1, depth=4),
    "coat": _timm("coat_tiny", sized=True, prefix=1, batch=1),
    "convit": _timm("convit_tiny", (64, 64), sized=True, prefix=1),
    "convmixer": _timm("convmixer_768_32", (70, 105), batch=1, adapt=_few_blocks),
    "convnext": _timm("test_convnext"),
    "cpubone": _timm("cpubone_nano"),
    "crossvit": _timm("crossvit_tiny_240", (240, 240), prefix=1, batch=1),
    "csatv2": _timm("csatv2"),
    "cspnet": _timm("cs3darknet_focus_s"),
    "cspnext": _timm("cspnext_tiny"),
    "davit": _timm("davit_tiny"),
    # Its norms run in float32.
    "deepseek_vit": _timm(
        "deepseek_vit_412m", (224, 224), sized=True, depth=2, batch=1, rounding=1e-6
    ),
    "deit": _timm("deit_tiny_patch16_224", sized=True, prefix=1, depth=4),
    "densenet": _timm("densenet121"),
    "dla": _timm("dla46x_c"),
    "dpn": _timm("dpn48b"),
    "edgenext": _timm("edgenext_xx_small"),
    "efficientformer": _timm("efficientformer_l1", (224, 224), batch=1),
    "efficientformer_v2": _timm("efficientformerv2_s0", sized=True),
    "efficientnet": _timm("test_efficientnet"),
    "efficientvim": _timm("efficientvim_m1"),
    "efficientvit_mit": _timm("efficientvit_b0"),
    "efficientvit_msra": _timm("efficientvit_m0", sized=True),
    "eva": _timm("vit_tiny_patch16_dinov3_qkvb", sized=True, prefix=5, depth=4),
    "fasternet": _timm("fasternet_t0"),
    "fastvit": _timm("fastvit_t8"),
    "focalnet": _timm("focalnet_tiny_srf"),
    "gcvit": _timm("gcvit_xxtiny", sized=True),
    "gemma4_vit": _timm("gemma4_vit_167m", (96, 96), sized=True, depth=2, batch=1),
    "ghostnet": _timm("ghostnet_050"),
    "hardcorenas": _timm("hardcorenas_b"),
    "hgnet": _timm("hgnetv2_b0"),
    "hiera": _timm("hiera_tiny_224", sized=True),
    "hieradet_sam2": _timm("sam2_hiera_tiny"),
    "hrnet": _timm("hrnet_w18_small"),
    "iformer": _timm("iformer_t"),
    "inception_next": _timm("inception_next_atto"),
    "inception_resnet_v2": _timm("inception_resnet_v2", (96, 96), batch=1),
    "inception_v3": _timm("inception_v3", (96, 96), batch=1),
    "inception_v4": _timm("inception_v4", (96, 96), batch=1),
    "lcnetv2": _timm("lcnetv2_small"),
    "levit": _timm("levit_128s", sized=True),
    "lowformer": _timm("lowformer_b0"),
    "mambaout": _timm("test_mambaout"),
    "maxxvit": _timm("test_coatnet", sized=True),
    "metaformer": _timm("poolformerv2_s12"),
    "mlp_mixer": _timm("gmlp_ti16_224", sized=True),
    "mobilenetv3": _timm("lcnet_035"),
    "mobilenetv5": _timm("mobilenetv5_base", batch=1),
    "mobilevit": _timm("mobilevit_xxs", sized=True),
    "mvitv2": _timm("mvitv2_tiny", (64, 64), sized=True),
    "naflexvit": _timm("naflexvit_base_patch16_parfac_gap", sized=True, prefix=4, depth=2),
    "nasnet": _timm("nasnetalarge", batch=1),
    "nest": _timm("nest_tiny", (64, 64), sized=True),
    "nextvit": _timm("nextvit_small"),
    "nfnet": _timm("test_nfnet"),
    "pit": _timm("pit_ti_224", sized=True, prefix=1),
    "pnasnet": _timm("pnasnet5large", batch=1),
    "pvt_v2": _timm("pvt_v2_b0"),
    "qwen3_vit": _timm("qwen3_vit_88m", sized=True, depth=2),
    "rdnet": _timm("rdnet_tiny", batch=1),
    "regnet": _timm("regnetx_002"),
    "repghost": _timm("repghostnet_050"),
    "repvit": _timm("repvit_m1"),
    "res2net": _timm("res2next50"),
    "resnest": _timm("resnest14d"),
    "resnet": _timm("test_resnet"),
    "resnetv2": _timm("resnetv2_18"),
    "rexnet": _timm("rexnet_100"),
    "selecsls": _timm("selecsls42"),
    "senet": _timm("legacy_seresnet18"),
    "sequencer": _timm("sequencer2d_s", sized=True, batch=1, layers=(1, 1, 2, 1)),
    "shvit": _timm("shvit_s1"),
    "sknet": _timm("skresnet18"),
    "starnet": _timm("starnet_s050"),
    "swiftformer": _timm("swiftformer_xs"),
    "swin_transformer": _timm("swin_tiny_patch4_window7_224", sized=True, depths=(1, 2, 2, 2)),
    "swin_transformer_v2": _timm("swinv2_tiny_window8_256", sized=True, depths=(1, 2, 2, 2)),
    "swin_transformer_v2_cr": _timm("swinv2_cr_tiny_224", sized=True, depths=(1, 2, 2, 2)),
    "tiny_vit": _timm("tiny_vit_5m_224"),
    "tnt": _timm("tnt_s_legacy_patch16_224", sized=True, prefix=1, depth=3),
    "tresnet": _timm("tresnet_m"),
    "twins": _timm("twins_svt_small", sized=True, depths=(1, 1, 2, 1)),
    "vgg": _timm("vgg11", mlp_ratio=0.1),
    "visformer": _timm("visformer_tiny", sized=True),
    "vision_transformer": _timm("test_vit", sized=True, prefix=1),
    "vision_transformer_hybrid": _timm("vit_tiny_r_s16_p8_224", sized=True, prefix=1, depth=4),
    "vision_transformer_relpos": _timm("test_vit_relpos", sized=True, prefix=1),
    "vision_transformer_sam": _timm("samvit_base_patch16_224", sized=True, depth=3),
    "vitamin": _timm("vitamin_small_224", sized=True),
    "volo": _timm("volo_d1_224", sized=True, prefix=1),
    "vovnet": _timm("ese_vovnet19b_slim_dw"),
    "xception": _timm("xception", batch=1),
    "xception_aligned": _timm("xception41p", batch=1),
    "xcit": _timm("xcit_nano_12_p8_224", prefix=1, depth=4),
}

_ROIS = {
    "min_size": 64,
    "max_size": 96,
    "box_score_thresh": 0.0,
    "rpn_post_nms_top_n_test": 8,
    "box_detections_per_img": 3,
}
VISION: dict[str, Member] = {
    "alexnet": _vision("alexnet"),
    "convnext": _vision("convnext_tiny", batch=1),
    "densenet": _vision("densenet121"),
    "efficientnet": _vision("efficientnet_b0"),
    "efficientnet_v2": _vision("efficientnet_v2_s", batch=1),
    "googlenet": _vision("googlenet", options={**_TEN, "init_weights": False}),
    "inception_v3": _vision(
        "inception_v3", (96, 96), options={**_TEN, "init_weights": False}, batch=1
    ),
    "maxvit": Member(_maxvit, ((3, 64, 64),)),
    "mnasnet": _vision("mnasnet0_5"),
    "mobilenet_v2": _vision("mobilenet_v2"),
    "mobilenet_v3": _vision("mobilenet_v3_small"),
    "regnet_x": _vision("regnet_x_400mf"),
    "regnet_y": _vision("regnet_y_400mf"),
    "resnet": _vision("resnet18"),
    "resnext": _vision("resnext50_32x4d"),
    "shufflenet_v2": _vision("shufflenet_v2_x0_5"),
    "squeezenet": _vision("squeezenet1_1"),
    "swin": _vision("swin_t"),
    "swin_v2": _vision("swin_v2_t"),
    "vgg": _vision("vgg11_bn"),
    "vit": _vision("vit_b_16", (64, 64), options={**_TEN, "image_size": 64}, prefix=1),
    "wide_resnet": _vision("wide_resnet50_2", batch=1),
    "deeplabv3": _vision(
        "deeplabv3_mobilenet_v3_large",
        options={**_TEN, "weights_backbone": None, "aux_loss": True},
        output="out",
        target=(1, 20, 30),
    ),
    "fcn": _vision(
        "fcn_resnet50", options={**_TEN, "weights_backbone": None}, target=(1, 20, 30), batch=1
    ),
    "lraspp": _vision(
        "lraspp_mobilenet_v3_large", options={**_TEN, "weights_backbone": None}, target=(1, 20, 30)
    ),
    "fasterrcnn": _detector("fasterrcnn_mobilenet_v3_large_320_fpn", **_ROIS),
    "fcos": _detector("fcos_resnet50_fpn", batch=1, min_size=64, max_size=96, score_thresh=0.0),
    "keypointrcnn": _detector("keypointrcnn_resnet50_fpn", batch=1, **_ROIS),
    "maskrcnn": _detector("maskrcnn_resnet50_fpn", batch=1, **_ROIS),
    "retinanet": _detector("retinanet_resnet50_fpn", min_size=64, max_size=96, score_thresh=0.0),
    "ssd": _detector("ssdlite320_mobilenet_v3_large", adapt=_small_pictures, score_thresh=0.0),
    "mvit": Member(_mvit, ((3, *_CLIP),), prefix=1, frames=4),
    "r3d": _vision("r3d_18", (4, 32, 48), batch=1),
    "s3d": _vision("s3d", (16, 64, 96), adapt=_pool_everything, batch=1),
    "swin3d": _vision("swin3d_t", _CLIP, batch=1),
    "raft": _vision(
        "raft_small",
        options={},
        shapes=((3, 128, 128), (3, 128, 128)),
        output=-1,
        target=(0, 60, 70),
        batch=1,
        dtype=torch.float32,
        rounding=1e-3,
    ),
    "quantizable_resnet": _vision("quantized_resnet18"),
    "quantized_resnet": _vision(
        "quantized_resnet18", options={**_TEN, "quantize": True}, dtype=torch.float32, rounding=1e-3
    ),
}

MEMBERS: dict[str, Member] = {
    **{f"timm/{name}": member for name, member in TIMM.items()},
    **{f"torchvision/{name}": member for name, member in VISION.items()},
}
