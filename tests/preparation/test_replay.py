"""The interface of graph recorders; what CUDA graphs replay is compared in test_graphs."""

from __future__ import annotations

import pickle

import torch
from tape import TapeRecorder

from torchattr.preparation.replay import CudaRecorder, replays


def test_inputs_on_another_device_are_not_recorded() -> None:
    recorder = CudaRecorder(torch.device("cuda:0"))
    assert recorder.refusal([torch.zeros(1)]) == "the inputs are not all on cuda:0"


def test_a_pickled_recorder_keeps_its_device_only() -> None:
    recorder = pickle.loads(pickle.dumps(CudaRecorder(torch.device("cuda:0"))))
    assert vars(recorder) == {"_device": torch.device("cuda:0"), "_stream": None, "_pool": None}


def test_runs_are_replayed_where_all_can_be_recorded() -> None:
    x, recorder = torch.ones(3), TapeRecorder()
    recorded = replays({"a": lambda: x.add_(1), "b": lambda: x.mul_(2)}, recorder)
    recorded["a"]()
    recorded["b"]()
    assert (recorder.recorded, recorder.replayed) == (2, 2)
    assert x.tolist() == [10.0] * 3

    runs = {"a": lambda: x.add_(1), "b": lambda: x.sum().item()}
    assert replays(runs, recorder) == runs
