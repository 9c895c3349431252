"""The exported module, run with Hugging Face's own datasets on small data in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import datasets
import pytest

from app.formats.exports.base import ExportError, Plan
from app.formats.exports.hf_interleave import HfInterleaveExport
from tests.app.formats.exports.sample_plans import PROVENANCE, domain, staged_plan, static_plan, text_of

DRAWS = 8_000


def run(plan: Plan) -> dict[str, Any]:
    module: dict[str, Any] = {}
    exec(compile(text_of(HfInterleaveExport().render(plan), "mixture.py").encode(), "mixture.py", "exec"), module)
    return module


def corpus(*names: str, rows: int = 100) -> dict[str, datasets.Dataset]:
    return {name: datasets.Dataset.from_dict({"domain": [name] * rows, "row": list(range(rows))}) for name in names}


def drawn(mixture: Any, count: int = DRAWS) -> Counter[str]:
    return Counter(example["domain"] for example in mixture.take(count))


def streamed(*names: str) -> dict[str, datasets.IterableDataset]:
    """Long enough for all draws: a stream of datasets is not read twice when it only runs out once."""
    return {name: data.to_iterable_dataset() for name, data in corpus(*names, rows=DRAWS).items()}


def test_streams_are_drawn_in_the_shares_that_give_the_recommended_tokens() -> None:
    """Seed 42 of the file; the bound is four standard errors of a share of 8 000 draws, sqrt(1/4 / 8 000).

    A share of documents that is off by 0.008 (four errors for the few books) is off by 0.04 in tokens."""
    weights, lengths = {"web": 0.5, "code": 0.3, "books": 0.2}, {"web": 500.0, "code": 1000.0, "books": 4000.0}
    plan = replace(static_plan(weights), domains=tuple(domain(name, 10**9, lengths[name]) for name in weights))
    counts = drawn(run(plan)["mixture"](streamed(*weights)))
    tokens = {name: counts[name] * lengths[name] for name in weights}
    total = sum(weights[name] / lengths[name] for name in weights)
    for name in weights:
        assert counts[name] / DRAWS == pytest.approx(weights[name] / lengths[name] / total, abs=0.023)
        assert tokens[name] / sum(tokens.values()) == pytest.approx(weights[name], abs=0.04)


def test_without_document_lengths_examples_are_drawn_by_token_shares_and_the_note_is_loud() -> None:
    plan = static_plan({"web": 0.8, "code": 0.2})
    assert drawn(run(plan)["mixture"](streamed("web", "code")))["web"] / DRAWS == pytest.approx(0.8, abs=0.023)
    assert any("PER-DOCUMENT SHARES" in note for note in HfInterleaveExport().render(plan).notes)


def test_a_small_source_starts_again_until_every_source_was_read() -> None:
    """100 rows each at 9 : 1: by the time that all of code was read, web was read about nine times."""
    mixture = run(static_plan({"web": 0.9, "code": 0.1}))["mixture"](corpus("web", "code"))
    counts = Counter(mixture["domain"])
    assert counts["code"] == 100
    assert 700 <= counts["web"] <= 1100
    assert Counter(zip(mixture["domain"], mixture["row"], strict=True))["web", 0] >= 7


def test_first_exhausted_ends_with_the_first_source() -> None:
    plan = static_plan({"web": 0.9, "code": 0.1}, stopping_strategy="first_exhausted")
    counts = Counter(run(plan)["mixture"](corpus("web", "code"))["domain"])
    assert counts["web"] == 100
    assert counts["code"] < 30


def test_the_seed_of_the_export_decides_the_order() -> None:
    weights = {"web": 0.5, "code": 0.5}
    first, again, other = (
        run(static_plan(weights, seed=seed))["mixture"](corpus(*weights))["domain"][:64] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_stage_takes_only_the_domains_that_it_uses() -> None:
    mixture = run(staged_plan(100, 200))["mixture"]
    data = corpus("web", "code", "wiki")
    assert set(mixture(data, stage=1)["domain"]) == {"web", "code"}
    assert set(mixture(data, stage=2)["domain"]) == {"web", "code", "wiki"}


def test_names_cannot_leave_their_literals() -> None:
    name = "'''\nraise SystemExit\n{stages} \\ ünï"
    plan = replace(static_plan({name: 1.0}), provenance={**PROVENANCE, "coding": "latin-1"})
    assert set(run(plan)["mixture"](corpus(name))["domain"]) == {name}


def test_a_strategy_that_datasets_does_not_know_is_refused() -> None:
    with pytest.raises(ExportError, match="option 'stopping_strategy' is 'never'; it must be one of all_exhausted"):
        HfInterleaveExport().render(static_plan(stopping_strategy="never"))
