"""Pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.torch_private import aten_nn
from torchattr.layers.operations.parsers.table import (
    Parsed,
    Parser,
    aten,
    call_pattern,
    per_dimension,
)


def _max_pool(dims: int, with_indices: Callable[..., Any], extras: bool) -> Parser:
    def parse(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Parsed:
        arguments = {
            "kernel_size": per_dimension(kernel_size, dims),
            "stride": per_dimension(kernel_size if stride in (None, [], ()) else stride, dims),
            "padding": per_dimension(padding, dims),
            "dilation": per_dimension(dilation, dims),
            "ceil_mode": ceil_mode,
        }
        instead = (with_indices, (input, *arguments.values()))
        return Parsed((input,), arguments, False, instead, not (extras or return_indices))

    return parse


for _dims, _with_indices, _plain, _indexed in (
    (
        1,
        F.max_pool1d_with_indices,
        (F.max_pool1d, torch.max_pool1d, aten.max_pool1d),
        (torch.max_pool1d_with_indices, aten.max_pool1d_with_indices),
    ),
    (
        2,
        F.max_pool2d_with_indices,
        (F.max_pool2d, torch.max_pool2d, aten.max_pool2d),
        (aten_nn.max_pool2d_with_indices, aten.max_pool2d_with_indices),
    ),
    (
        3,
        F.max_pool3d_with_indices,
        (F.max_pool3d, torch.max_pool3d, aten.max_pool3d),
        (aten_nn.max_pool3d_with_indices, aten.max_pool3d_with_indices),
    ),
):
    call_pattern("max_pool", *_plain)(_max_pool(_dims, _with_indices, extras=False))
    call_pattern("max_pool", _with_indices, *_indexed)(_max_pool(_dims, _with_indices, extras=True))


def _avg_pool(dims: int) -> Parser:
    def parse(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Parsed:
        arguments = {
            "kernel_size": per_dimension(kernel_size, dims),
            "stride": per_dimension(kernel_size if stride in (None, [], ()) else stride, dims),
            "padding": per_dimension(padding, dims),
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
            "divisor_override": divisor_override,
        }
        return Parsed((input,), arguments)

    return parse


call_pattern("avg_pool", F.avg_pool1d, aten.avg_pool1d)(_avg_pool(1))
call_pattern("avg_pool", F.avg_pool2d, aten.avg_pool2d)(_avg_pool(2))
call_pattern("avg_pool", F.avg_pool3d, aten.avg_pool3d)(_avg_pool(3))


def _adaptive_avg_pool(dims: int) -> Parser:
    def parse(input: Tensor, output_size: Any) -> Parsed:
        return Parsed((input,), {"output_size": output_size, "dims": dims})

    return parse


def _adaptive_max_pool(dims: int, with_indices: Callable[..., Any], extras: bool) -> Parser:
    def parse(input: Tensor, output_size: Any, return_indices: bool = False) -> Parsed:
        instead = (with_indices, (input, output_size))
        drop = not (extras or return_indices)
        arguments = {"output_size": output_size, "dims": dims}
        return Parsed((input,), arguments, False, instead, drop)

    return parse


for _dims, _averages in (
    (1, (F.adaptive_avg_pool1d, aten.adaptive_avg_pool1d)),
    (2, (F.adaptive_avg_pool2d, aten.adaptive_avg_pool2d, aten._adaptive_avg_pool2d)),
    (3, (F.adaptive_avg_pool3d, aten.adaptive_avg_pool3d, aten._adaptive_avg_pool3d)),
):
    call_pattern("adaptive_avg_pool", *_averages)(_adaptive_avg_pool(_dims))

for _dims, _adaptive, _adaptive_indices, _aten in (
    (1, F.adaptive_max_pool1d, F.adaptive_max_pool1d_with_indices, aten.adaptive_max_pool1d),
    (2, F.adaptive_max_pool2d, F.adaptive_max_pool2d_with_indices, aten.adaptive_max_pool2d),
    (3, F.adaptive_max_pool3d, F.adaptive_max_pool3d_with_indices, aten.adaptive_max_pool3d),
):
    call_pattern("adaptive_max_pool", _adaptive)(
        _adaptive_max_pool(_dims, _adaptive_indices, extras=False)
    )
    call_pattern("adaptive_max_pool", _adaptive_indices, _aten)(
        _adaptive_max_pool(_dims, _adaptive_indices, extras=True)
    )
