"""Every family of timm and torchvision: right by an oracle, or refused as the table says."""

from __future__ import annotations

import gc
import re
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import torchattr as ta

timm = pytest.importorskip("timm")

import by_hand  # noqa: E402 - they need timm
from by_hand import Case, made  # noqa: E402
from families import MEMBERS, TIMM  # noqa: E402
from refusals import Refusals, Refused  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]

SWEPT = "1.0.31"
"""The version of timm whose families are listed."""


@pytest.fixture(scope="module", params=MEMBERS)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """One model at a time: all its tests follow one another, and then it is dropped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of those who wrote the models
        found = made(request.param, MEMBERS[request.param])
    weights = [weakref.ref(weight) for weight in found.model.parameters()]
    yield found
    vars(found).clear()
    gc.collect()
    held = sum(weight() is not None for weight in weights)
    assert held == 0, f"{held} of {len(weights)} weights outlive what was done with the model"


@pytest.fixture(scope="session")
def refusals() -> Refusals:
    return Refusals.read()


def listed(maps: Any) -> list[Tensor]:
    return list(maps) if isinstance(maps, tuple) else [maps]


def assert_near(case: Case, found: Any, expected: Sequence[Tensor] | None) -> None:
    """Fail unless maps differ from what is right by rounding, and what is right is not zero."""
    assert expected is not None, "nothing connects the score with the inputs, but a map came"
    for one, right in zip(listed(found), expected, strict=True):
        assert one.shape == right.shape, f"{tuple(one.shape)} is not {tuple(right.shape)}"
        assert one.dtype == right.dtype, f"{one.dtype} is not {right.dtype}"
        largest = right.abs().max().item()
        assert largest > 0, "nothing is compared: what is right is zero"
        share = (one - right).abs().max().item() / largest
        assert share <= case.member.rounding, f"differs by {share:.2g} of the largest value"


def asked(
    refusals: Refusals, case: Case, call: str, run: Callable[[], Any], check: Callable[[Any], None]
) -> None:
    """Check what a call gives, unless it is refused as the table says."""
    try:
        with refusals.expected(case.name, call):
            found = run()
    except Refused:
        return
    check(found)


def test_saliency(case: Case, refusals: Refusals) -> None:
    method = ta.Saliency(case.model, output=case.member.output)
    asked(
        refusals,
        case,
        "saliency",
        lambda: method.attribute(case.given, case.member.target, abs=False),
        lambda found: assert_near(case, found, by_hand.gradients(case)),
    )


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_rewritten_rectifiers(case: Case, refusals: Refusals, rule: str) -> None:
    made = ta.GuidedBackprop if rule == "guided" else ta.Deconvolution
    method = made(case.model, output=case.member.output)

    def check(found: Any) -> None:
        assert by_hand.rectifiers(case) > 0, "there is no rectifier, but a map came"
        assert_near(case, found, by_hand.gradients(case, rule))

    asked(refusals, case, rule, lambda: method.attribute(case.given, case.member.target), check)


def test_grad_cam_of_the_default_layer(case: Case, refusals: Refusals) -> None:
    method = ta.GradCAM(case.model, output=case.member.output)
    named: list[str] = []

    def run() -> Tensor:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = method.attribute(case.given, case.member.target)
        said = [str(one.message) for one in caught if one.category is ta.LayerChoiceWarning]
        named.extend(re.findall(r"layer='([^']*)'", " ".join(said)))
        return found

    def check(found: Tensor) -> None:
        assert len(named) == 1, f"the layer is not named: {named}"
        assert_near(case, found, [by_hand.grad_cam(case, named[0])])

    asked(refusals, case, "grad_cam", run, check)


def test_deep_lift_is_complete(case: Case, refusals: Refusals) -> None:
    method = ta.DeepLift(case.model, output=case.member.output)

    def check(found: Any) -> None:
        maps, delta = found
        size = sum(one.abs().flatten(1).sum(1) for one in listed(maps))
        assert bool((size > 0).all()), "nothing is compared: what is attributed is zero"
        share = (delta.abs() / size).max().item()
        # Its attention computes in single precision, whatever the model's.
        least = 1e-6 if case.name == "timm/efficientvit_mit" else 0.0
        assert share <= max(case.member.rounding, least), (
            f"misses {share:.2g} of the sum of magnitudes"
        )

    asked(
        refusals,
        case,
        "deep_lift",
        lambda: method.attribute(case.given, None, case.member.target, None, True),
        check,
    )


def test_incremental_occlusion(case: Case, refusals: Refusals) -> None:
    method = ta.Occlusion(case.model, output=case.member.output)
    sizes = [tuple(max(extent // 2, 3) for extent in one.shape[1:]) for one in case.inputs]
    windows = tuple(sizes) if len(sizes) > 1 else sizes[0]

    def run() -> Any:
        target = case.member.target
        return method.attribute(
            case.given, windows, strides=windows, target=target, incremental=True
        )

    def check(found: Any) -> None:
        assert_near(case, found, by_hand.occlusion(case, sizes))

    asked(refusals, case, "occlusion", run, check)


def test_explain(case: Case, refusals: Refusals) -> None:
    methods = ("saliency", "guided_backprop")
    options = {"targets": case.member.target, "output": case.member.output, "skip_refused": True}

    def check(found: ta.Explanation) -> None:
        assert any(torch.equal(found.output, own) for own in by_hand.own_outputs(case)), (
            "the output is not the model's own"
        )
        gradients = by_hand.gradients(case)
        expected = None if gradients is None else [one.abs() for one in gradients]
        if expected is None:
            assert set(found.refused) == set(methods)
            return
        maps = listed(found["saliency"])
        assert_near(case, tuple(one[:, 0] for one in maps), expected)
        count = by_hand.rectifiers(case, of_scores=True)
        assert found.coverage.calls["relu"] == count
        assert not found.refused or count == 0, found.refused

    def run() -> ta.Explanation:
        return ta.explain(case.model, case.given, methods, **options)

    asked(refusals, case, "explain", run, check)


def test_summary(case: Case, refusals: Refusals) -> None:
    def check(found: ta.Summary) -> None:
        assert found.relu_calls == by_hand.rectifiers(case)

    asked(refusals, case, "summary", lambda: ta.summary(case.model, case.given), check)


def test_prepare(case: Case, refusals: Refusals) -> None:
    key = case.member.output
    examples = tuple(one[:1] for one in case.inputs)

    def check(fast: ta.Prepared) -> None:
        with torch.no_grad():
            expected = case.scores(case.model(*(one.clone() for one in case.inputs)))
            found = case.scores(fast(*(one.clone() for one in case.inputs)))
        assert_near(case, found, [expected])
        gradients = by_hand.gradients(case)
        if gradients is not None:
            method = ta.Saliency(fast, output=key)
            maps = method.attribute(case.given, case.member.target, abs=False)
            assert_near(case, maps, gradients)

    asked(
        refusals,
        case,
        "prepare",
        lambda: ta.prepare(case.model, examples, channels_last=True, output=key),
        check,
    )


def test_the_table_names_no_other_models(refusals: Refusals) -> None:
    assert {model for model, _ in refusals.known} <= set(MEMBERS)


def test_every_family_of_timm_is_swept() -> None:
    """A newer timm may bring families: add their smallest members. None may have gone."""
    known = set(timm.models.list_modules())
    assert set(TIMM) <= known
    if timm.__version__.startswith(SWEPT):
        assert set(TIMM) == known
