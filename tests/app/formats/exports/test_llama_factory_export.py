"""The data arguments of LLaMA-Factory, split and checked as it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from app.formats.exports.base import ExportError, Plan
from app.formats.exports.llama_factory import LlamaFactoryExport
from tests.app.formats.exports.sample_plans import THIRDS, domain, staged_plan, static_plan

STRATEGIES = {"interleave_under", "interleave_over", "interleave_once"}


def read_arguments(plan: Plan) -> list[tuple[list[str], list[float], str]]:
    """Lists are split at commas and stripped; probabilities go with interleaving alone and are as many as datasets."""
    found = []
    for file in LlamaFactoryExport().render(plan).files:
        arguments: dict[str, Any] = yaml.safe_load(file.text)
        assert set(arguments) == {"dataset", "interleave_probs", "mix_strategy"}
        assert arguments["mix_strategy"] in STRATEGIES
        names, probabilities = (
            [item.strip() for item in arguments[key].split(",")] for key in ("dataset", "interleave_probs")
        )
        assert len(names) == len(probabilities)
        found.append((names, list(map(float, probabilities)), arguments["mix_strategy"]))
    return found


def named(plan: Plan, *names: str) -> Plan:
    return replace(plan, domains=tuple(domain(d.name, 1, None, n) for d, n in zip(plan.domains, names, strict=True)))


def test_names_and_probabilities_stand_in_the_same_order() -> None:
    plan = named(static_plan(), "web_2026", "the stack", "wiki")
    assert read_arguments(plan) == [(["web_2026", "the stack", "wiki"], list(THIRDS.values()), "interleave_over")]


def test_one_domain_keeps_its_probability_as_text() -> None:
    """A lone 1.0 that YAML reads as a number could not be split."""
    assert read_arguments(named(static_plan({"web": 1.0}), "web")) == [(["web"], [1.0], "interleave_over")]


@pytest.mark.parametrize("name", ["a,b", " a", "a\n", ""])
def test_a_name_that_would_be_split_or_stripped_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match="cannot stand in LLaMA-Factory's list"):
        LlamaFactoryExport().render(named(static_plan({"web": 1.0}), name))


def test_the_note_on_sources_that_run_out_follows_the_strategy() -> None:
    for strategy in STRATEGIES:
        export = LlamaFactoryExport().render(static_plan(mix_strategy=strategy))
        assert any(note.startswith("When a source runs out") and strategy in note for note in export.notes)


def test_concatenation_is_refused_because_it_has_no_probabilities() -> None:
    with pytest.raises(ExportError, match="option 'mix_strategy' is 'concat'; it must be one of interleave_over"):
        LlamaFactoryExport().render(static_plan(mix_strategy="concat"))


def test_each_stage_is_a_file_of_its_own() -> None:
    assert [names for names, _, _ in read_arguments(staged_plan(100, 200))] == [
        ["/data/web", "/data/code"],
        ["/data/web", "/data/code", "/data/wiki"],
    ]
