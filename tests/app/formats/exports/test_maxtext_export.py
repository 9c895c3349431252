"""The MaxText mixture, mixed by Grain as MaxText calls it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from app.formats.exports.maxtext import MaxTextMixture
from tests.app.formats.exports.sample_plans import domain, staged_plan, static_plan, text_of

SHARES = {"web": 0.6, "code": 0.3, "wiki": 0.1}


@pytest.fixture(scope="module")
def grain() -> Any:
    return pytest.importorskip("grain.python")


def draw(text: str, grain: Any, count: int) -> Counter[str]:
    """As MaxText's input pipeline does: every key a data set, weights normalised, an endless mix of iterators."""
    config = json.loads(text)
    weights = [float(entry["weight"]) for entry in config.values()]
    sets = {name: grain.MapDataset.source([name]).repeat(None).to_iter_dataset() for name in config}
    shares = {name: weight / sum(weights) for name, weight in zip(config, weights, strict=True)}
    assert all(isinstance(entry["path"], str) for entry in config.values())
    return Counter(islice(iter(grain.IterDataset.mix(sets, shares)), count))


def with_lengths(**lengths: float) -> Any:
    plan = static_plan(SHARES)
    return replace(plan, domains=tuple(domain(name, 1_000_000, lengths.get(name)) for name in SHARES))


def test_grain_draws_the_recommended_shares(grain: Any) -> None:
    export = MaxTextMixture().render(with_lengths(web=500.0, code=500.0, wiki=500.0))
    drawn = draw(text_of(export, "grain_mixture.json"), grain, 2000)
    assert drawn == pytest.approx({"web": 1200, "code": 600, "wiki": 200}, abs=3)


def test_documents_of_unequal_length_are_drawn_so_that_tokens_have_the_shares(grain: Any) -> None:
    lengths = {"web": 600.0, "code": 3000.0, "wiki": 100.0}
    export = MaxTextMixture().render(with_lengths(**lengths))
    drawn = draw(text_of(export, "grain_mixture.json"), grain, 4_200)
    tokens = {name: drawn[name] * length for name, length in lengths.items()}
    total = sum(tokens.values())
    assert {name: count / total for name, count in tokens.items()} == pytest.approx(SHARES, rel=0.02)


def test_an_unknown_length_is_warned_of() -> None:
    export = MaxTextMixture().render(with_lengths(web=500.0))
    config = json.loads(text_of(export, "grain_mixture.json"))
    assert {name: entry["weight"] for name, entry in config.items()} == SHARES
    assert any(note.startswith("WARNING") and '"code", "wiki"' in note for note in export.notes)


def test_every_key_of_the_mixture_is_a_data_set_and_the_rest_stands_beside_it() -> None:
    export = MaxTextMixture().render(static_plan(SHARES))
    assert set(json.loads(text_of(export, "grain_mixture.json"))) == set(SHARES)
    told = json.loads(text_of(export, "grain_mixture.json.provenance.json"))
    assert told["provenance"]["recommendation"] == "0197"
    assert told["epochs"] == pytest.approx(SHARES)
    assert told["notes"] == list(export.notes)


def test_each_stage_has_a_file_whose_data_sets_keep_their_names() -> None:
    export = MaxTextMixture().render(staged_plan(100, 200))
    first, last = (json.loads(text_of(export, f"grain_mixture.stage-{n}.json")) for n in (1, 2))
    assert list(first) == ["web", "code"]
    assert list(last) == ["web", "code", "wiki"]


def test_the_number_of_passes_that_the_run_needs_is_told() -> None:
    export = MaxTextMixture().render(static_plan(SHARES, tokens=4_100_000))
    assert "Set num_epoch to at least 3, or the data ends before the run does." in export.notes


def test_several_paths_get_names_of_their_own() -> None:
    domains = (domain("web", 1, 1.0, "gs://b/a*", "gs://b/b*"), domain("web-1", 1, 1.0))
    export = MaxTextMixture().render(replace(static_plan({"web": 0.8, "web-1": 0.2}), domains=domains))
    config = json.loads(text_of(export, "grain_mixture.json"))
    assert {entry["path"]: entry["weight"] for entry in config.values()} == {
        "gs://b/a*": 0.4,
        "gs://b/b*": 0.4,
        "/data/web-1": 0.2,
    }
