"""The effect of PyTorch's functions on the axes of their inputs, as one table.

A function that is not listed keeps the axes if it keeps the shape, as elementwise functions do;
otherwise the axes of its result are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.layers.layouts.axes import Axes, others, whole
from torchattr.layers.layouts.calls import (
    AxisRule,
    FunctionCall,
    Lookup,
    alike,
    tensors_in,
    unknown,
    untracked,
)
from torchattr.layers.layouts.sums import (
    attention,
    contracted,
    folded,
    linear,
    product,
    reduced,
    unfolded,
    windowed,
)
from torchattr.layers.layouts.views import (
    along,
    flipped,
    joined_along,
    padded,
    picked,
    repeated,
    rolled,
    shaped,
    stacked,
    transformed,
    viewed,
    warped,
    written,
)
from torchattr.layers.operations.names import base_name


def axes_of_results(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any, known: Lookup
) -> Iterator[tuple[Tensor, Axes]]:
    """Yield the tensors of a result with their axes, unless these do not depend on the inputs.

    Args:
        function: the called function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        result: its result.
        known: returns the axes of its inputs.
    """
    outputs = list(tensors_in(result))
    rule = RULES.get(base_name(function), alike)
    axes_of_outputs = rule(FunctionCall(function, args, kwargs, outputs, known))
    if not axes_of_outputs:
        return
    for output, axes in zip(outputs, axes_of_outputs, strict=True):
        fits = tuple(one.size for one in axes) == tuple(output.shape)
        yield output, whole(axes) if fits else others(output.shape)


def _table(*rows: tuple[AxisRule, str]) -> dict[str, AxisRule]:
    return {name: rule for rule, names in rows for name in names.split()}


RULES: Mapping[str, AxisRule] = _table(
    (shaped, "view reshape flatten unflatten view_as reshape_as ravel unsafe_view"),
    (
        viewed,
        "permute transpose swapaxes swapdims movedim moveaxis t T mT H mH adjoint squeeze unsqueeze"
        " expand expand_as broadcast_to select narrow slice chunk split split_with_sizes"
        " tensor_split hsplit vsplit dsplit unbind unsafe_chunk unsafe_split diagonal",
    ),
    (
        windowed,
        "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d"
        " max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices"
        " max_pool3d_with_indices boolean_dispatch fn avg_pool1d avg_pool2d avg_pool3d"
        " adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d"
        " adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d_with_indices"
        " adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices lp_pool1d lp_pool2d"
        " lp_pool3d fractional_max_pool2d fractional_max_pool3d interpolate upsample"
        " upsample_nearest2d upsample_bilinear2d pixel_shuffle pixel_unshuffle deform_conv2d",
    ),
    (linear, "linear addmm bilinear"),
    (product, "matmul rmatmul bmm baddbmm mm"),
    (attention, "scaled_dot_product_attention multi_head_attention_forward"),
    (contracted, "einsum"),
    (
        reduced,
        "mean sum amax amin max min std var norm vector_norm linalg_vector_norm logsumexp prod"
        " nanmean nansum median nanmedian any all argmax argmin var_mean std_mean count_nonzero"
        " mode",
    ),
    (picked, "getitem"),
    (written, "setitem index_put"),
    (
        untracked,
        "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros"
        " new_ones new_empty new_full new_empty_strided",
    ),
    (
        along,
        "sort argsort topk glu index_select gather take_along_dim repeat_interleave scatter"
        " scatter_add index_add index_copy index_fill",
    ),
    (repeated, "repeat tile"),
    (
        transformed,
        "fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2"
        " fft_fftn fft_ifftn fft_rfftn fft_irfftn fft_fftshift fft_ifftshift",
    ),
    (warped, "grid_sample grid_sampler grid_sampler_2d grid_sampler_3d"),
    (joined_along, "cat concat concatenate"),
    (stacked, "stack"),
    (unfolded, "unfold im2col"),
    (folded, "fold col2im"),
    (rolled, "roll"),
    (flipped, "flip fliplr flipud"),
    (padded, "pad constant_pad_nd"),
    (
        unknown,
        "kthvalue take masked_select masked_scatter rot90 fft_hfft fft_ihfft fft_hfft2 fft_ihfft2"
        " fft_hfftn fft_ihfftn as_strided tensordot kron roi_align roi_pool ps_roi_align msort"
        " unique searchsorted cdist outer inner dot lstm gru rnn_tanh rnn_relu vmap renorm"
        " multinomial randperm",
    ),
)
