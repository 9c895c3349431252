"""The sources of lingua, drawn as its loader draws them."""

from __future__ import annotations

import posixpath
from dataclasses import replace

import numpy as np
import pytest
import yaml

from app.formats.exports.base import ExportError, Plan
from app.formats.exports.lingua import LinguaExport
from tests.app.formats.exports.sample_plans import domain, staged_plan, static_plan


def read_sources(plan: Plan) -> list[dict[str, float]]:
    """Folder -> weight, as lingua joins them with root_dir, which must be text; each stage."""
    found = []
    for file in LinguaExport().render(plan).files:
        data = yaml.safe_load(file.text)["data"]
        assert set(data) == {"root_dir", "sources"}
        found.append({posixpath.join(data["root_dir"], folder): weight for folder, weight in data["sources"].items()})
    return found


def test_drawn_documents_add_up_to_the_recommended_tokens() -> None:
    """A source is drawn for each document, with weights normalised; 40 000 draws, seeded.

    The share of drawn documents has a standard error below 0.0025; the bound is four of them, in tokens.
    """
    weights, lengths = {"web": 0.6, "books": 0.4}, {"web": 500.0, "books": 1500.0}
    plan = replace(static_plan(weights), domains=tuple(domain(name, 10**9, lengths[name]) for name in weights))
    (sources,) = read_sources(plan)
    p = np.array(list(sources.values()))
    drawn = np.random.default_rng(7).choice(len(p), size=40_000, p=p / p.sum())
    tokens = np.bincount(drawn) * np.array(list(lengths.values()))
    assert list(sources) == ["/data/web", "/data/books"]
    assert tokens / tokens.sum() == pytest.approx([0.6, 0.4], abs=0.01)
    # Token shares for weights would have given 1/3 and 2/3.
    assert sources["/data/web"] == pytest.approx(9 / 11)


def test_paths_start_from_the_root_folder() -> None:
    plan = replace(static_plan({"web": 1.0}, root_dir="/mnt/pile"), domains=(domain("web", 1, None, "web-shuffled"),))
    assert read_sources(plan) == [{"/mnt/pile/web-shuffled": 1.0}]


def test_each_stage_is_a_file_of_its_own_and_resuming_is_warned_of() -> None:
    plan = staged_plan(100, 200)
    assert read_sources(plan) == [
        {"/data/web": 0.7, "/data/code": 0.3},
        {"/data/web": 0.25, "/data/code": 0.65, "/data/wiki": 0.1},
    ]
    assert any("holds the old sources and weights" in note for note in LinguaExport().render(plan).notes)


def test_two_domains_in_one_folder_are_refused() -> None:
    """As keys of one mapping, the second would silently take the first one's place."""
    plan = static_plan({"web": 0.5, "code": 0.5})
    plan = replace(plan, domains=(domain("web", 1, None, "/d"), domain("code", 1, None, "/d")))
    with pytest.raises(ExportError, match="'code' shares the folder '/d' with another domain"):
        LinguaExport().render(plan)
