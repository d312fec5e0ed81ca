"""Results belong to one description of a machine."""

from __future__ import annotations

import torch

from benchmarks.measure.machine import circumstances, machine, stem


def test_a_cpu_is_described_with_its_threads() -> None:
    described = machine(torch.device("cpu"))
    assert described["threads"] == torch.get_num_threads()
    assert described["processor"]


def test_files_are_named_after_the_processor_or_the_gpu() -> None:
    assert stem({"processor": "AMD EPYC (x)", "threads": 2}) == "amd-epyc-x-2-threads"
    assert stem({"processor": "any", "gpu": "NVIDIA H100 80GB"}) == "nvidia-h100-80gb"


def test_versions_are_recorded_also_of_what_is_missing() -> None:
    found = circumstances(torch.device("cpu"), ["no-such-package"])
    assert found["no-such-package"] == "not installed"
    assert found["precision"] == "float32"
