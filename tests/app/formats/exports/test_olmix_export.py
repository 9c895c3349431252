"""The olmix mix, read by its rule for nested weights: a leaf's share is the product from the root."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from app.formats.exports.base import ExportError
from app.formats.exports.olmix import OlmixMix
from tests.app.formats.exports.sample_plans import THIRDS, staged_plan, static_plan, text_of

PROPERTIES = {"weight", "repetition_factor"}
NESTED = {"dclm:science": 0.3, "wiki": 0.2, "dclm:code:high": 0.1, "dclm:code:low": 0.4}


def leaves(text: str) -> dict[str, tuple[float, float]]:
    """olmix: what is no property is a child; weights multiply downwards, the nearest repetition_factor holds."""
    found: dict[str, tuple[float, float]] = {}

    def walk(name: str, node: dict[str, Any], above: float, repetition: float) -> None:
        share, repetition = above * node.get("weight", 1.0), node.get("repetition_factor", repetition)
        children = {key: child for key, child in node.items() if key not in PROPERTIES}
        for key, child in children.items():
            walk(f"{name}:{key}", child, share, repetition)
        if not children:
            found[name] = (share, repetition)

    document = yaml.safe_load(text)
    assert set(document) == {"mix"}
    for name, node in document["mix"].items():
        walk(name, node, 1.0, 1.0)
    return found


def shares(text: str) -> dict[str, float]:
    return {name: share for name, (share, _) in leaves(text).items()}


def test_products_down_the_tree_are_the_recommended_shares() -> None:
    text = text_of(OlmixMix().render(static_plan(NESTED)), "mix.yaml")
    assert shares(text) == pytest.approx(NESTED, rel=1e-14)
    dclm = yaml.safe_load(text)["mix"]["dclm"]
    assert dclm["weight"] == pytest.approx(0.8)
    assert dclm["code"]["high"]["weight"] == pytest.approx(0.2)
    assert "repetition_factor" not in dclm


def test_names_without_parts_are_leaves_with_exact_weights() -> None:
    assert shares(text_of(OlmixMix().render(static_plan()), "mix.yaml")) == THIRDS


def test_a_name_that_is_another_ones_parent_makes_the_mix_flat() -> None:
    both = {"dclm": 0.5, "dclm:code": 0.25, "dclmx": 0.25}
    export = OlmixMix().render(static_plan(both))
    assert set(yaml.safe_load(text_of(export, "mix.yaml"))["mix"]) == set(both)
    assert shares(text_of(export, "mix.yaml")) == both
    assert any("mix is flat" in note for note in export.notes)


def test_each_leaf_may_be_repeated_as_often_as_its_stage_needs() -> None:
    export = OlmixMix().render(staged_plan(4_000_000, 4_100_000))
    factors = {name: factor for name, (_, factor) in leaves(text_of(export, "mix.stage-1.yaml")).items()}
    assert factors == pytest.approx({"web": 2.8, "code": 1.2}, rel=0.02)
    assert all(factor >= epochs for factor, epochs in zip(factors.values(), (2.8, 1.2), strict=True))
    assert shares(text_of(export, "mix.stage-2.yaml")) == {"web": 0.25, "code": 0.65, "wiki": 0.1}


@pytest.mark.parametrize("name", ["dclm:weight", "dclm:repetition_factor:x", "dclm:", ":code"])
def test_a_part_that_olmix_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match="rename the domain"):
        OlmixMix().render(static_plan({name: 0.5, "wiki": 0.5}))
