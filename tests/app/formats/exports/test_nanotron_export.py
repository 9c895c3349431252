"""data_stages, read by the rules of nanotron's configuration classes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import yaml

from app.formats.exports.base import ExportError, Plan
from app.formats.exports.nanotron import NanotronExport
from tests.app.formats.exports.sample_plans import THIRDS, domain, staged_plan, static_plan, text_of


def read_stages(plan: Plan) -> list[dict[str, Any]]:
    """What nanotron checks: known fields, one stage that starts at step 1, rising starts, other names, equal lists."""
    document = yaml.safe_load(text_of(NanotronExport().render(plan), "data_stages.yaml"))
    assert set(document) == {"data_stages"}
    stages = document["data_stages"]
    for stage in stages:
        assert set(stage) == {"name", "start_training_step", "data"}
        assert set(stage["data"]) == {"seed", "num_loading_workers", "dataset"}
        dataset = stage["data"]["dataset"]
        assert set(dataset) == {"dataset_folder", "dataset_weights"}
        assert all(isinstance(folder, str) for folder in dataset["dataset_folder"])
        assert all(isinstance(weight, float) for weight in dataset["dataset_weights"])
        assert len(dataset["dataset_weights"]) == len(dataset["dataset_folder"])
    starts = [stage["start_training_step"] for stage in stages]
    assert starts[0] == 1
    assert all(before < after for before, after in pairwise(starts))
    assert len({stage["name"] for stage in stages}) == len(stages)
    return stages


def test_a_static_mixture_is_one_stage_from_step_1() -> None:
    (stage,) = read_stages(static_plan())
    assert stage["data"]["dataset"] == {
        "dataset_folder": ["/data/web", "/data/code", "/data/wiki"],
        "dataset_weights": list(THIRDS.values()),
    }


def test_a_single_domain_is_a_list_too() -> None:
    """A lone text would do for the folder, but then nanotron throws the weights away."""
    (stage,) = read_stages(static_plan({"web": 1.0}))
    assert stage["data"]["dataset"] == {"dataset_folder": ["/data/web"], "dataset_weights": [1.0]}


def test_stages_start_with_the_step_after_their_tokens() -> None:
    """100 000 steps of 1000 tokens are behind the first stage: the second one starts with step 100 001."""
    plan = staged_plan(100_000_000, 140_000_000, 150_000_000, tokens_per_step=1000)
    assert [stage["start_training_step"] for stage in read_stages(plan)] == [1, 100_001, 140_001]


def test_a_domain_that_joins_late_is_no_folder_of_earlier_stages() -> None:
    first, last = read_stages(staged_plan(10_000, 20_000, tokens_per_step=1000))
    assert first["data"]["dataset"]["dataset_folder"] == ["/data/web", "/data/code"]
    assert last["data"]["dataset"]["dataset_folder"] == ["/data/web", "/data/code", "/data/wiki"]


def test_a_boundary_inside_a_step_moves_to_the_nearest_one_and_is_told() -> None:
    plan = staged_plan(10_400, 20_000, tokens_per_step=1000)
    assert [stage["start_training_step"] for stage in read_stages(plan)] == [1, 11]
    assert "Stage 1 ends 400 tokens earlier, at step 10." in NanotronExport().render(plan).notes


def test_several_stages_need_the_tokens_of_a_step() -> None:
    with pytest.raises(ExportError, match="set option 'tokens_per_step': sequence length"):
        NanotronExport().render(staged_plan(10_000, 20_000))


def test_stages_shorter_than_a_step_are_refused() -> None:
    with pytest.raises(ExportError, match="stage 2 ends at 10100 tokens"):
        NanotronExport().render(staged_plan(10_000, 10_100, 20_000, tokens_per_step=1000))


def test_folders_of_one_domain_share_its_weight_and_a_note_says_so() -> None:
    plan = static_plan({"web": 0.5, "code": 0.5})
    plan = replace(plan, domains=(domain("web", 10**6, None, "/a", "/b"), domain("code")))
    (stage,) = read_stages(plan)
    assert stage["data"]["dataset"] == {
        "dataset_folder": ["/a", "/b", "/data/code"],
        "dataset_weights": [0.25, 0.25, 0.5],
    }
    assert any('The weight of "web" was split evenly' in note for note in NanotronExport().render(plan).notes)


@pytest.mark.parametrize("wrong", [-1, 2.5, "many", True])
def test_an_option_of_another_kind_is_named(wrong: object) -> None:
    with pytest.raises(ExportError, match=r"option .seed. is .*; it must be a whole number from 0 on"):
        NanotronExport().render(static_plan(seed=wrong))
