"""The domain configuration, read as DoReMi reads it: by two keys, and in the order of sorted names."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app.formats.exports.doremi import DoremiExport
from tests.app.formats.exports.sample_plans import THIRDS, staged_plan, static_plan, text_of


def test_the_probabilities_that_doremi_draws_with_are_the_weights() -> None:
    config = json.loads(text_of(DoremiExport().render(static_plan()), "domain_weights.json"))
    names = sorted(config["train_domain_weights"])
    p = np.asarray([config["train_domain_weights"][name] for name in names])
    p = p / p.sum()
    np.random.default_rng(111).choice(len(p), size=10, p=p)
    assert p == pytest.approx([THIRDS[name] for name in names], rel=1e-15)


def test_evaluation_knows_the_same_domains() -> None:
    config = json.loads(text_of(DoremiExport().render(static_plan()), "domain_weights.json"))
    assert config["eval_domain_weights"] == config["train_domain_weights"]


def test_each_stage_is_a_file_that_says_which_tokens_it_is_for() -> None:
    export = DoremiExport().render(staged_plan(100, 250))
    configs = [json.loads(file.text) for file in export.files]
    assert [list(config["train_domain_weights"]) for config in configs] == [["web", "code"], ["web", "code", "wiki"]]
    spans = [(config["_mixwright"]["from_token"], config["_mixwright"]["to_token"]) for config in configs]
    assert spans == [(0, 100), (100, 250)]
