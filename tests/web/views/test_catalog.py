"""Registered methods and panels with their forms."""

from __future__ import annotations

from helpers import refused

import torchattr as ta
from torchattr.errors import InputError
from torchattr.runs import MethodForm
from torchattr.web.views.catalog import MethodEntry, method_entry, methods


def test_every_registered_method_can_be_run_from_its_form() -> None:
    assert [entry.name for entry in methods() if entry.unavailable] == []
    calls = {field.name: field for field in method_entry("grad_cam").form.made.fields}["calls"]
    assert calls.choices == ("last", "first", "sum", "each")


def test_rise_has_a_field_for_each_of_its_options() -> None:
    entry = method_entry("rise")
    assert entry.unavailable is None
    found = {field.name: (field.kind, field.default) for field in entry.form.called.fields}
    assert found == {
        "n_masks": ("integer", 4000),
        "grid_size": ("integer", 7),
        "probability": ("number", 0.5),
        "baselines": ("number", None),
        "activation": ("choice", None),  # That of the model, unless chosen.
        "normalisation": ("choice", "probability"),
        "seed": ("integer", 0),
        "perturbations_per_eval": ("integer", None),
    }
    activation = {field.name: field for field in entry.form.called.fields}["activation"]
    assert activation.choices == ("softmax", "sigmoid", "none")
    assert activation.optional


def test_a_method_that_needs_more_says_what() -> None:
    entry = MethodEntry(MethodForm("noise_tunnel", ta.NoiseTunnel))
    assert "attribution_method" in str(entry.unavailable)
    with refused(InputError, "noise_tunnel", "attribution_method"):
        entry.read({})
