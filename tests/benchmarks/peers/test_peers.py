"""Every library, as its documentation says to use it."""

from __future__ import annotations

import pytest
from tiny import task

from benchmarks.measure.agreement import judge
from benchmarks.peers import OURS, PEERS
from benchmarks.peers.base import Library
from benchmarks.tasks import METHODS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("library", [OURS, *PEERS], ids=lambda one: one.name)
def test_every_library_is_right_on_modules(library: Library, method: str) -> None:
    if method not in library.makers:
        assert library is not OURS
        return
    verdict = judge(library, task(method))
    assert verdict.wrong is None
    assert verdict.difference is not None


def test_one_image_at_a_time() -> None:
    (library,) = (peer for peer in PEERS if peer.name == "grad-cam")
    assert library.refusal("GuidedBackprop", 8) == "one image at a time"
    assert library.refusal("GuidedBackprop", 1) is None
    assert library.refusal("GradCAM", 8) is None
