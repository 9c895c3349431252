"""Lists of paths and weights, read by the rules of GPT-NeoX's arguments."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from app.formats.exports.base import ExportError
from app.formats.exports.gpt_neox import GptNeoxExport
from tests.app.formats.exports.sample_plans import THIRDS, domain, staged_plan, static_plan, text_of


def read_arguments(text: str) -> dict[str, list[object]]:
    """NeoX loads the file as YAML, turns dashes of the keys into underscores and compares the lengths of the lists."""
    arguments = {key.replace("-", "_"): value for key, value in yaml.safe_load(text).items()}
    assert set(arguments) == {"train_data_paths", "train_data_weights"}
    assert len(arguments["train_data_paths"]) == len(arguments["train_data_weights"])
    assert sum(arguments["train_data_weights"]) > 0
    return arguments


def test_paths_and_weights_stand_side_by_side() -> None:
    arguments = read_arguments(text_of(GptNeoxExport().render(static_plan()), "data_weights.yml"))
    assert arguments["train_data_paths"] == ["/data/web", "/data/code", "/data/wiki"]
    assert arguments["train_data_weights"] == list(THIRDS.values())


def test_each_stage_is_a_file_of_its_own() -> None:
    export = GptNeoxExport().render(staged_plan(100, 200, 300))
    assert [file.name for file in export.files] == [f"data_weights.stage-{n}.yml" for n in (1, 2, 3)]
    last = read_arguments(export.files[-1].text)
    assert dict(zip(last["train_data_paths"], last["train_data_weights"], strict=True)) == {
        "/data/web": 0.25,
        "/data/code": 0.65,
        "/data/wiki": 0.1,
    }


def test_the_ends_of_the_two_files_are_cut_off_a_prefix() -> None:
    plan = replace(static_plan({"web": 1.0}), domains=(domain("web", 10**6, None, "/d/web_doc.bin", "/d/web_doc.idx"),))
    assert read_arguments(GptNeoxExport().render(plan).files[0].text)["train_data_paths"] == ["/d/web_doc"]


def test_more_datasets_than_the_index_can_number_are_refused() -> None:
    """The blend numbers datasets in a byte and asserts fewer than 255."""
    names = [f"d{number}" for number in range(255)]
    plan = static_plan(dict.fromkeys(names, 1 / 255))
    with pytest.raises(ExportError, match="at most 254 datasets; stage 1 has 255"):
        GptNeoxExport().render(plan)
    fewer = static_plan(dict.fromkeys(names[:254], 1 / 254))
    assert len(read_arguments(GptNeoxExport().render(fewer).files[0].text)["train_data_paths"]) == 254


def test_the_notes_name_the_splits_that_must_be_set_too() -> None:
    notes = GptNeoxExport().render(static_plan()).notes
    assert any("only together with valid-data-paths and test-data-paths" in note for note in notes)
