"""The families by which the page lists the methods, and the few that it shows at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torchattr.explanation import METHODS

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "Gradients": (
        "saliency",
        "smooth_grad",
        "input_x_gradient",
        "deconvolution",
        "guided_backprop",
    ),
    "Compared with a baseline": (
        "integrated_gradients",
        "gradient_shap",
        "deep_lift",
        "deep_lift_shap",
    ),
    "Relevance": ("lrp", "attn_lrp", "excitation_backprop", "libra_grad"),
    "Class activation maps": (
        "grad_cam",
        "guided_grad_cam",
        "grad_cam_plus_plus",
        "smooth_grad_cam_plus_plus",
        "grad_cam_elementwise",
        "hires_cam",
        "xgrad_cam",
        "layer_cam",
        "cam",
        "full_grad",
        "shapley_cam",
        "finer_cam",
        "refine_cam",
        "score_cam",
        "ss_cam",
        "is_cam",
        "ablation_cam",
        "eigen_cam",
        "eigen_grad_cam",
        "kpca_cam",
        "fem",
        "random_cam",
    ),
    "Attention": ("attention_gradient", "attention_rollout", "legrad", "raw_attention"),
    "Perturbation": (
        "feature_ablation",
        "occlusion",
        "rise",
        "shapley_value_sampling",
        "shapley_values",
        "kernel_shap",
        "lime",
    ),
}
"""The methods of this package by family, the simplest first."""

FURTHER = "Further methods"
"""The family of those that a file or another package registers."""

COMMON = (*METHODS, "integrated_gradients", "lrp", "occlusion")
"""The methods of this package that the page shows at once."""


def family_of(name: str) -> str:
    """Return the family of a method by its registered name.

    >>> family_of("lrp"), family_of("one_of_mine")
    ('Relevance', 'Further methods')
    """
    return next((family for family, names in FAMILIES.items() if name in names), FURTHER)


def by_family(names: Iterable[str]) -> dict[str, list[str]]:
    """Return methods by family, each in the order of its family.

    >>> by_family(["mine", "rise", "lrp", "occlusion"])
    {'Relevance': ['lrp'], 'Perturbation': ['occlusion', 'rise'], 'Further methods': ['mine']}
    """
    given = list(names)
    listed = {family: [one for one in own if one in given] for family, own in FAMILIES.items()}
    listed[FURTHER] = [name for name in given if family_of(name) == FURTHER]
    return {family: own for family, own in listed.items() if own}


def is_shown_at_once(name: str) -> bool:
    """Whether the page shows a method without being asked: a common one, or one of the user's."""
    return name in COMMON or family_of(name) == FURTHER
