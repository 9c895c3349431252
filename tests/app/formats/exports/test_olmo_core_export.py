"""The OLMo-core mixture, read by the rules of its SourceMixtureList and of the build that follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

from app.formats.exports.base import Plan
from app.formats.exports.olmo_core import OlmoCoreMixture
from tests.app.formats.exports.sample_plans import THIRDS, domain, staged_plan, static_plan, text_of

FIELDS = {"source_name", "target_ratio", "paths", "max_repetition_ratio", "max_source_fraction"}


def read_sources(text: str) -> list[dict[str, Any]]:
    """What OLMo-core checks: known fields alone, ratios in (0, 1] that sum to 1, paths, a repetition of at least 1."""
    document = yaml.safe_load(text)
    assert set(document) == {"sources"}
    sources = document["sources"]
    for source in sources:
        assert set(source) <= FIELDS
        assert isinstance(source["source_name"], str)
        assert 0 < source["target_ratio"] <= 1
        assert source["max_repetition_ratio"] >= 1
        assert source["paths"]
    assert np.allclose(np.sum([source["target_ratio"] for source in sources]), 1.0)
    return sources


def short_sources(sources: list[dict[str, Any]], requested_tokens: int, counted: dict[str, int]) -> list[str]:
    """The sources for which the build would fail, for what it counts in the files."""
    return [
        source["source_name"]
        for source in sources
        if int(counted[source["source_name"]] * source["max_repetition_ratio"])
        < int(requested_tokens * source["target_ratio"])
    ]


def counted(plan: Plan, part: float = 1.0) -> dict[str, int]:
    return {each.name: int((each.available_tokens or 0) * part) for each in plan.domains}


def test_the_ratios_are_read_back_exactly() -> None:
    sources = read_sources(text_of(OlmoCoreMixture().render(static_plan()), "source_mixture.yaml"))
    assert {source["source_name"]: source["target_ratio"] for source in sources} == THIRDS
    assert [source["paths"] for source in sources] == [["/data/web"], ["/data/code"], ["/data/wiki"]]


def test_each_stage_builds_with_its_own_tokens_and_the_repetition_that_it_needs() -> None:
    """Nine passes over web in the first stage; half a per cent fewer tokens in the files than declared do no harm."""
    plan = staged_plan(13_000_000, 14_000_000, 16_000_000)
    export = OlmoCoreMixture().render(plan)
    for number, stage in enumerate(plan.stages, start=1):
        sources = read_sources(text_of(export, f"source_mixture.stage-{number}.yaml"))
        assert {source["source_name"] for source in sources} == set(stage.weights)
        assert short_sources(sources, stage.tokens, counted(plan, 0.995)) == []
    first = read_sources(text_of(export, "source_mixture.stage-1.yaml"))
    assert [source["max_repetition_ratio"] for source in first] == pytest.approx([9.1, 3.9], rel=0.02)
    assert "Tokens to request (requested_tokens), stage by stage: 13000000, 1000000, 2000000." in export.notes


def test_the_repetition_is_no_licence_to_repeat_much_more() -> None:
    plan = staged_plan(13_000_000, 14_000_000)
    sources = read_sources(text_of(OlmoCoreMixture().render(plan), "source_mixture.stage-1.yaml"))
    assert short_sources(sources, 13_000_000, counted(plan, 0.95)) == ["web", "code"]


def test_a_source_that_is_not_repeated_keeps_the_limit_of_one() -> None:
    sources = read_sources(text_of(OlmoCoreMixture().render(static_plan()), "source_mixture.yaml"))
    assert {source["max_repetition_ratio"] for source in sources} == {1.0}


def test_a_source_of_unknown_size_is_not_allowed_to_repeat() -> None:
    plan = static_plan({"web": 1.0}, tokens=10**12)
    export = OlmoCoreMixture().render(replace(plan, domains=(domain("web", None),)))
    assert read_sources(text_of(export, "source_mixture.yaml"))[0]["max_repetition_ratio"] == 1.0
    assert 'Epochs that the whole plan implies: "web" unknown.' in export.notes


@pytest.mark.parametrize("name", ["null", "1e5", "off", "a: b", "x # y", "- z", "na\nme", "\u2028", "'\""])
def test_a_name_that_means_something_in_yaml_stays_a_name(name: str) -> None:
    plan = replace(static_plan({name: 1.0}), domains=(domain(name, 1000, None, f"s3://b/{name}/**/*.npy"),))
    (source,) = read_sources(text_of(OlmoCoreMixture().render(plan), "source_mixture.yaml"))
    assert (source["source_name"], source["paths"]) == (name, [f"s3://b/{name}/**/*.npy"])


def test_domains_above_the_cap_are_named() -> None:
    plan = static_plan({"web": 0.9, "code": 0.1}, tokens=10_000_000)
    assert 'Repeated more than 4 times (epochs): "web" 9.' in OlmoCoreMixture().render(plan).notes
    lenient = replace(plan, options={"max_epochs": 9.5})
    assert not any("Repeated more" in note for note in OlmoCoreMixture().render(lenient).notes)
