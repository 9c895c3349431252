"""The LLM Foundry configuration, read by the rules of Streaming's streams and of the curriculum-learning callback."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

from app.formats.exports.base import ExportError
from app.formats.exports.mosaic import MosaicStreams
from tests.app.formats.exports.sample_plans import THIRDS, domain, staged_plan, static_plan, text_of

STREAM_ARGUMENTS = {"remote", "local", "split", "proportion"}


def read_config(export: Any) -> dict[str, Any]:
    config = yaml.safe_load(text_of(export, "llm_foundry.yaml"))
    assert set(config) <= {"max_duration", "train_loader", "callbacks"}
    assert config["train_loader"]["name"] == "text"
    return config


def proportions(dataset: dict[str, Any]) -> dict[str, float]:
    """Streaming: a stream has a place, all have proportions or none, none below 0, and a folder serves one stream."""
    streams = dataset["streams"]
    for stream in streams.values():
        assert set(stream) <= STREAM_ARGUMENTS
        assert stream.get("remote") or stream.get("local")
        assert stream["proportion"] >= 0
    local = [stream["local"] for stream in streams.values()]
    assert len(set(local)) == len(local)
    return {name: stream["proportion"] for name, stream in streams.items()}


def chosen(dataset: dict[str, Any]) -> np.ndarray:
    """Samples of an epoch by stream, before Streaming hands out the few that rounding leaves."""
    shares = np.array(list(proportions(dataset).values()))
    return (dataset["epoch_size"] * shares / shares.sum()).astype(np.int64)


def tokens(duration: str) -> int:
    found = re.fullmatch(r"(\d+)tok", duration)
    assert found, duration
    return int(found.group(1))


def test_the_proportions_are_read_back_exactly() -> None:
    config = read_config(MosaicStreams().render(static_plan()))
    assert proportions(config["train_loader"]["dataset"]) == THIRDS
    assert config["train_loader"]["dataset"]["shuffle"] is True
    assert tokens(config["max_duration"]) == 1_000_000
    assert "callbacks" not in config


def test_an_epoch_is_as_long_as_the_stage() -> None:
    config = read_config(MosaicStreams().render(static_plan({"web": 0.7, "code": 0.3}, sequence_length=256)))
    dataset = config["train_loader"]["dataset"]
    assert dataset["epoch_size"] == 3907
    assert chosen(dataset) == pytest.approx([0.7 * 3907, 0.3 * 3907], abs=1)


def test_without_the_length_of_a_sample_the_missing_epoch_size_is_told() -> None:
    export = MosaicStreams().render(static_plan())
    assert "epoch_size" not in read_config(export)["train_loader"]["dataset"]
    assert any(note.startswith("Without epoch_size") for note in export.notes)


def test_the_schedule_follows_the_train_loader_and_fills_the_run() -> None:
    """The callback puts the train loader's data first, replaces its keys stage by stage, and wants an exact sum."""
    plan = staged_plan(1_000_000, 1_500_001, 4_000_000, sequence_length=128)
    config = read_config(MosaicStreams().render(plan))
    callback = config["callbacks"]["curriculum_learning"]
    mixes = [{"duration": callback["duration"], "dataset": config["train_loader"]["dataset"]}, *callback["schedule"]]
    assert [tokens(mix["duration"]) for mix in mixes] == [1_000_000, 500_001, 2_499_999]
    assert sum(tokens(mix["duration"]) for mix in mixes) == tokens(config["max_duration"])
    for mix, stage in zip(mixes, plan.stages, strict=True):
        used = config["train_loader"]["dataset"] | mix["dataset"]
        assert proportions(used) == dict(stage.weights)
        assert used["shuffle"] is True
        assert used["epoch_size"] * 128 >= stage.tokens > (used["epoch_size"] - 1) * 128


def test_remote_streams_get_a_local_folder_each() -> None:
    names = ("a/b", "a:b", "..", "web")
    domains = tuple(domain(name, 1, None, f"s3://bucket/{n}") for n, name in enumerate(names))
    plan = replace(static_plan(dict.fromkeys(names, 0.25), local_root="/cache", split="train"), domains=domains)
    streams = read_config(MosaicStreams().render(plan))["train_loader"]["dataset"]["streams"]
    proportions({"streams": streams})
    assert streams["web"] == {"remote": "s3://bucket/3", "local": "/cache/web", "split": "train", "proportion": 0.25}
    for stream in streams.values():
        assert re.fullmatch(r"/cache/[^/]+", stream["local"])
        assert stream["local"] != "/cache/.."


def test_remote_streams_without_a_folder_are_refused() -> None:
    plan = replace(static_plan({"web": 1.0}), domains=(domain("web", 1, None, "s3://bucket/web"),))
    with pytest.raises(ExportError, match="give the option local_root"):
        MosaicStreams().render(plan)
