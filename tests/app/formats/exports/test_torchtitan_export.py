"""The torchtitan module, run against stand-ins of the classes that it builds."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from app.formats.exports.base import ExportError, Plan
from app.formats.exports.torchtitan import TorchtitanExport
from tests.app.formats.exports.sample_plans import THIRDS, domain, staged_plan, static_plan, text_of


@dataclass(frozen=True, kw_only=True)
class WeightedDataset:
    dataset: Any
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DatasetMixConfig:
    datasets: tuple[WeightedDataset, ...]

    def __post_init__(self) -> None:
        """What torchtitan demands: at least one data set, and weights that are finite and above 0."""
        assert isinstance(self.datasets, tuple)
        assert self.datasets
        assert all(math.isfinite(item.weight) and item.weight > 0 for item in self.datasets)


@dataclass(frozen=True, kw_only=True)
class Config:
    patterns: tuple[str, ...] = ()
    text_fn: Any = None


@dataclass(frozen=True, kw_only=True)
class SingleDatasetConfig:
    source: Config
    processor: Config
    post_filters: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class ConcatThenSplitPackingConfig:
    dataset: SingleDatasetConfig


@pytest.fixture(autouse=True)
def torchtitan(monkeypatch: pytest.MonkeyPatch) -> None:
    data, text = ModuleType("torchtitan.components.data"), ModuleType("torchtitan.hf_datasets.text_datasets")
    for each in (ConcatThenSplitPackingConfig, DatasetMixConfig, SingleDatasetConfig, WeightedDataset):
        setattr(data, each.__name__, each)
    setattr(data, "IndexedJsonlSource", SimpleNamespace(Config=Config))  # noqa: B010
    setattr(text, "TextProcessor", SimpleNamespace(Config=Config))  # noqa: B010
    for name in ("torchtitan", "torchtitan.components", "torchtitan.hf_datasets"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, data.__name__, data)
    monkeypatch.setitem(sys.modules, text.__name__, text)


def run(plan: Plan) -> dict[str, Any]:
    module: dict[str, Any] = {}
    exec(compile(text_of(TorchtitanExport().render(plan), "mixture.py").encode(), "mixture.py", "exec"), module)
    return module


def test_each_domain_is_packed_before_it_is_weighted() -> None:
    mixture = run(static_plan())["mixture"]()
    assert [item.weight for item in mixture.datasets] == list(THIRDS.values())
    assert all(isinstance(item.dataset, ConcatThenSplitPackingConfig) for item in mixture.datasets)
    assert [item.dataset.dataset.source.patterns for item in mixture.datasets] == [(f"/data/{k}",) for k in THIRDS]


def test_several_files_of_a_domain_are_patterns_of_one_source() -> None:
    plan = replace(static_plan({"web": 1.0}), domains=(domain("web", 1, None, "/a/*.jsonl", "/b/*.jsonl"),))
    (item,) = run(plan)["mixture"]().datasets
    assert (item.weight, item.dataset.dataset.source.patterns) == (1.0, ("/a/*.jsonl", "/b/*.jsonl"))


def test_stages_are_asked_for_by_number() -> None:
    module = run(staged_plan(100, 200, 300))
    shares = [[item.weight for item in module["mixture"](stage).datasets] for stage in (1, 2, 3)]
    assert shares == [[0.7, 0.3], [0.7 - 0.1, 0.3 + 0.1], [0.25, 0.65, 0.1]]


def test_text_comes_from_the_named_field_and_empty_samples_are_left_out() -> None:
    module = run(static_plan(text_field="it's\nbody"))
    assert module["document_text"]({"it's\nbody": "hello"}) == "hello"
    assert [module["has_tokens"](sample) for sample in (None, [1])] == [False, True]


def test_names_cannot_leave_their_literals() -> None:
    name = '"""\nraise SystemExit\n{x} \\'
    plan = replace(static_plan({name: 1.0}), provenance={"coding": "utf-7 \r\nraise SystemExit"})
    assert list(run(plan)["STAGES"][0]["weights"]) == [name]


def test_a_field_that_is_no_text_is_refused() -> None:
    with pytest.raises(ExportError, match="option 'text_field' is 3; it must be text"):
        TorchtitanExport().render(static_plan(text_field=3))
