"""Every method of the package has one family."""

from __future__ import annotations

import torchattr as ta
from torchattr.methods import registered_methods
from torchattr.web.views.catalog import method_entry, methods
from torchattr.web.views.families import COMMON, FAMILIES, FURTHER, by_family, is_shown_at_once


def built_in() -> set[str]:
    return {
        name
        for name, method in registered_methods().items()
        if method.__module__.startswith("torchattr.")
    }


def test_each_method_of_the_package_is_in_one_family() -> None:
    listed = [name for names in FAMILIES.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) == built_in()
    assert FURTHER not in FAMILIES


def test_the_common_ones_are_the_first() -> None:
    assert tuple(entry.name for entry in methods())[: len(COMMON)] == COMMON
    assert [entry.name for entry in methods() if is_shown_at_once(entry.name)] == list(COMMON)


def test_methods_of_the_user_are_shown_at_once(registered: None) -> None:
    @ta.register_method("mine_alone")
    class Mine(ta.GradientAttribution):
        """The gradient."""

        def finish(self, inputs, grads):
            return grads

    assert method_entry("mine_alone").as_json()["common"]
    assert not method_entry("rise").as_json()["common"]
    assert by_family(entry.name for entry in methods()) == {
        **{family: list(names) for family, names in FAMILIES.items()},
        FURTHER: ["mine_alone"],
    }
