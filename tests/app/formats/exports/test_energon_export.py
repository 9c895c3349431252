"""The metadataset, read by the rules of Energon: its casts of plain words, and the fields of a blend."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from app.formats.exports.base import ExportError
from app.formats.exports.energon import EnergonExport
from tests.app.formats.exports.sample_plans import THIRDS, domain, staged_plan, static_plan, text_of


class EnergonLoader(yaml.BaseLoader):
    """Energon casts scalars by itself: text in quotes stays text, and what looks like a number becomes one."""

    def construct_scalar(self, node: Any) -> Any:
        value, low = node.value, node.value.lower()
        if node.style is not None:
            return value
        words = {"null": None, "~": None, "true": True, "yes": True, "false": False, "no": False}
        if low in words:
            return words[low]
        try:
            return float(value) if "." in value or "e" in low else int(value)
        except ValueError:
            return value


def read_blend(text: str) -> list[dict[str, Any]]:
    document = yaml.load(text, EnergonLoader)
    assert (document["__module__"], document["__class__"]) == ("megatron.energon", "MetadatasetV2")
    assert set(document) == {"__module__", "__class__", "splits"}
    blend = document["splits"]["train"]["blend"]
    for entry in blend:
        assert set(entry) == {"weight", "path"}
        assert isinstance(entry["weight"], float)
        assert entry["weight"] > 0
        assert isinstance(entry["path"], str)
    return blend


def test_a_blend_of_sequences_has_the_weights_as_they_are() -> None:
    blend = read_blend(text_of(EnergonExport().render(static_plan(samples="sequences")), "metadataset.yaml"))
    assert {entry["path"]: entry["weight"] for entry in blend} == {f"/data/{k}": v for k, v in THIRDS.items()}


def test_samples_that_are_documents_are_drawn_by_documents() -> None:
    """Equal tokens of documents that are four times as long are a quarter of the draws."""
    plan = static_plan({"web": 0.5, "books": 0.5})
    plan = replace(plan, domains=(domain("web", 1, 100.0), domain("books", 1, 400.0)))
    assert [entry["weight"] for entry in read_blend(EnergonExport().render(plan).files[0].text)] == pytest.approx(
        [0.8, 0.2]
    )
    packed = replace(plan, options={"samples": "sequences"})
    assert [entry["weight"] for entry in read_blend(EnergonExport().render(packed).files[0].text)] == [0.5, 0.5]


@pytest.mark.parametrize("path", ["1e3", "12", "no", "~", "a.b", "1_0", "./data: x", "0x1f", "two\nlines"])
def test_a_path_that_looks_like_another_value_stays_a_path(path: str) -> None:
    plan = replace(static_plan({"web": 1.0}), domains=(domain("web", 1, None, path),))
    assert [entry["path"] for entry in read_blend(EnergonExport().render(plan).files[0].text)] == [path]


def test_each_stage_is_a_file_of_its_own() -> None:
    export = EnergonExport().render(staged_plan(100, 200))
    assert [file.name for file in export.files] == ["metadataset.stage-1.yaml", "metadataset.stage-2.yaml"]
    assert [len(read_blend(file.text)) for file in export.files] == [2, 3]


def test_an_unknown_kind_of_sample_is_refused() -> None:
    with pytest.raises(ExportError, match=re.escape("option 'samples' is 'tokens'; it must be one of documents, seq")):
        EnergonExport().render(static_plan(samples="tokens"))
