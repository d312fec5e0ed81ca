"""Normalisations, dropout and everything else that behaves differently in training."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.layers.operations.parsers.table import Parsed, aten, call_pattern


@call_pattern("batch_norm", F.batch_norm)
def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Parsed | None:
    if running_mean is None:
        return None  # It always normalises by its batch: PyTorch's own gradient is the only one.
    arguments = {
        "running_mean": running_mean,
        "running_var": running_var,
        "weight": weight,
        "bias": bias,
        "training": training,
        "eps": eps,
    }
    return Parsed((input,), arguments)


@call_pattern("batch_norm", torch.batch_norm, aten.batch_norm)
def _aten_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *cudnn_enabled: bool,
) -> Parsed | None:
    return _batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@call_pattern("batch_norm", aten._native_batch_norm_legit_no_training)
def _inference_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> Parsed | None:
    return _batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)


@call_pattern(
    "batch_norm",
    torch.native_batch_norm,
    *(
        aten.native_batch_norm,
        aten._native_batch_norm_legit,
        aten._native_batch_norm_legit_functional,
    ),
)
def _native_batch_norm(
    input: Tensor, weight: Any, bias: Any, mean: Any, var: Any, *rest: Any
) -> Parsed | None:
    if len(rest) < 3:
        return None
    return _aten_batch_norm(input, weight, bias, mean, var, *rest)


@call_pattern("instance_norm", F.instance_norm)
def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Parsed:
    # Without running statistics it normalises by each instance, also at inference.
    arguments = {
        "weight": weight,
        "bias": bias,
        "training": use_input_stats and running_mean is not None,
        "by_instance": use_input_stats or running_mean is None,
        "eps": eps,
    }
    return Parsed((input,), arguments)


@call_pattern("instance_norm", torch.instance_norm, aten.instance_norm)
def _aten_instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Parsed:
    statistics = (running_mean, running_var)
    return _instance_norm(input, *statistics, weight, bias, use_input_stats, momentum, eps)


@call_pattern("layer_norm", F.layer_norm, torch.layer_norm, aten.layer_norm, aten.native_layer_norm)
def _layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *cudnn_enabled: bool,
) -> Parsed:
    arguments = {
        "normalized_shape": tuple(normalized_shape),
        "weight": weight,
        "bias": bias,
        "eps": eps,
    }
    return Parsed((input,), arguments)


@call_pattern("group_norm", F.group_norm, torch.group_norm, aten.group_norm)
def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *cudnn_enabled: bool,
) -> Parsed:
    arguments = {"num_groups": num_groups, "weight": weight, "bias": bias, "eps": eps}
    return Parsed((input,), arguments)


@call_pattern(
    "dropout",
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
)
def _dropout(
    input: Tensor, p: float = 0.5, training: bool | None = None, inplace: bool = False
) -> Parsed:
    return Parsed((input,), {"p": p, "training": bool(training) and p > 0}, inplace)


@call_pattern(
    "dropout",
    *(torch.dropout, torch.dropout_, torch.feature_dropout, torch.feature_dropout_),
    *(torch.alpha_dropout, torch.alpha_dropout_),
    *(torch.feature_alpha_dropout, torch.feature_alpha_dropout_),
    *(aten.dropout, aten.dropout_, aten.native_dropout, aten.feature_dropout, aten.alpha_dropout),
)
def _aten_dropout(input: Tensor, p: float, train: bool | None = True) -> Parsed:
    return _dropout(input, p, train)


@call_pattern("dropout", F.multi_head_attention_forward)
def _attention(query: Tensor, *args: Any, **kwargs: Any) -> Parsed:
    # Positional order of PyTorch's signature: dropout_p is the tenth after the query, then the
    # projection's weight and bias, then training.
    p = kwargs["dropout_p"] if "dropout_p" in kwargs else args[9]
    training = kwargs.get("training", args[12] if len(args) > 12 else True)
    return Parsed((query,), {"p": p, "training": training and p > 0})


@call_pattern("dropout", F.scaled_dot_product_attention, aten.scaled_dot_product_attention)
def _scaled_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    *args: Any,
    **kwargs: Any,
) -> Parsed:
    return Parsed((query,), {"p": dropout_p, "training": dropout_p > 0})


@call_pattern("dropout", torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
def _recurrent(input: Tensor, *args: Any) -> Parsed:
    # After (hidden, parameters, has_biases, num_layers), or (batch_sizes, ...) for packed
    # sequences; in both forms dropout and train stand together, before bidirectional.
    flags = [position for position, value in enumerate(args) if isinstance(value, float)]
    p = args[flags[0]]
    return Parsed((input,), {"p": p, "training": args[flags[0] + 1] and p > 0})
