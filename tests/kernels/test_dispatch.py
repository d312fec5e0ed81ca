"""Which backend serves a call, and how others refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar
from unittest import mock

import pytest
import torch
from helpers import assert_same, noise, refused
from picky import Picky, model

import torchattr as ta
from torchattr.kernels import (
    Request,
    TorchBackend,
    choose,
    choose_patches,
    register_backend,
)
from torchattr.kernels.dispatch import BACKENDS, backend, backends, requested_backend
from torchattr.kernels.reference.patches import TorchPatches

REQUEST = Request(torch.device("cpu"), torch.float32)
TORCH = TorchBackend()


@pytest.fixture
def picky() -> Iterator[Picky]:
    with BACKENDS.temporary():
        register_backend(Picky)
        added = backends()["picky"]
        assert isinstance(added, Picky)
        added.calls.clear()
        yield added


X = noise(2, 3, 8, 8)


def test_the_reference_is_there_and_last() -> None:
    assert list(backends())[-1] == "torch"
    assert isinstance(backends()["torch"], TorchBackend)


@pytest.mark.usefixtures("picky")
def test_an_unnamed_choice_falls_through() -> None:
    coarse = Request(torch.device("cpu"), torch.float16)
    assert choose(coarse, "auto").name == "torch"
    assert choose(Request(torch.device("cpu"), torch.float64), "auto").name == "picky"


@pytest.mark.usefixtures("picky")
def test_one_asked_for_by_name_gives_every_reason() -> None:
    coarse = Request(torch.device("cuda"), torch.float16)
    reasons = ("'picky'", "torch.float16 is too coarse", "CPU only", "'auto'")
    with refused(ta.BackendError, *reasons):
        choose(coarse, "picky")
    with backend("picky"), refused(ta.BackendError, "torch.float32 is too coarse"):
        ta.GuidedBackprop(model()).attribute(X.float(), target=1)


def test_an_installed_backend_does_the_work(picky: Picky) -> None:
    net = model().double()
    result = ta.GuidedBackprop(net, memory="lean").attribute(X, target=1)
    forward = ["pack_mask", "pack_switches", "pack_mask"]
    # The pool gates for the rectifier before it, whose windows do not overlap.
    assert picky.calls == [*forward, "relu_backward", "unpool"]
    with backend("torch"):
        assert_same(result, ta.GuidedBackprop(net, memory="lean").attribute(X, target=1))
    assert len(picky.calls) == 5


def test_unknown_names_are_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with refused(ta.BackendError, "no backend is called 'cudnn'", "'cuda'"), backend("cudnn"):
        pass
    with refused(ta.BackendError, "there are: auto, ", "torch"), backend("xyz"):
        pass
    monkeypatch.setenv("TORCHATTR_BACKEND", "cudnn")
    with refused(ta.BackendError, "'cudnn'"):
        ta.Saliency(model()).attribute(X.float(), target=1)


def test_registered_backends_come_first_in_their_order(picky: Picky) -> None:
    @register_backend
    class Later(Picky):
        name: ClassVar[str] = "later"

    built_in = ["cuda", "triton", "cpu", "torch"]
    assert [name for name in backends() if name in ("picky", "later", *built_in)] == [
        *("picky", "later"),
        *built_in,
    ]
    assert backends()["picky"] is picky
    with refused(ta.BackendError, "'picky' is registered already (Picky)"):
        register_backend(Picky)
    with refused(ta.BackendError, "cannot be called 'auto'"):
        register_backend(type("Auto", (Picky,), {"name": "auto"}))


def test_a_backend_without_operations_on_patches_takes_the_references(picky: Picky) -> None:
    request = Request(torch.device("cpu"), torch.float64)
    assert picky.patches is None
    for name in ("picky", "auto"):
        assert choose_patches(request, name).name == "torch"
        assert choose_patches(request, name) is choose_patches(request, name)
    own = TorchPatches()
    with mock.patch.object(Picky, "patches", own):
        assert choose_patches(request, "picky") is own
    with refused(ta.BackendError, "torch.float16 is too coarse"):
        choose_patches(Request(torch.device("cpu"), torch.float16), "picky")


def test_the_environment_asks_and_a_block_overrules_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requested_backend() == "auto"
    monkeypatch.setenv("TORCHATTR_BACKEND", "torch")
    assert requested_backend() == "torch"
    with backend("auto"):
        assert requested_backend() == "auto"
        with backend("torch"):
            assert requested_backend() == "torch"
        assert requested_backend() == "auto"
    assert requested_backend() == "torch"
    monkeypatch.setenv("TORCHATTR_BACKEND", "")
    assert requested_backend() == "auto"


def test_a_block_ends_after_an_error() -> None:
    def fail() -> None:
        with backend("torch"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert requested_backend() == "auto"
