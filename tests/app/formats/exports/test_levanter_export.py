"""The Levanter weights, read by the rules of its block-deterministic mixture."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import yaml

from app.formats.exports.base import ExportError
from app.formats.exports.levanter import LevanterWeights
from tests.app.formats.exports.sample_plans import THIRDS, staged_plan, static_plan, text_of


def read_stages(export: Any, batch_size: int = 1) -> tuple[list[tuple[int, dict[str, float]]], int]:
    """(first sequence, weights) of each stage and the block size, after Levanter's own checks."""
    data = yaml.safe_load(text_of(export, "train_weights.yaml"))["data"]
    assert set(data) == {"train_weights", "mixture_block_size", "stop_strategy"}
    assert data["stop_strategy"] == "restart"
    block, weights = data["mixture_block_size"], data["train_weights"]
    assert 1 <= block < 2**16
    staged = [(0, weights)] if isinstance(weights, dict) else [(step * batch_size, p) for step, p in weights]
    assert staged[0][0] == 0
    assert all(start % block == 0 for start, _ in staged)
    assert all(a < b for (a, _), (b, _) in pairwise(staged))
    return staged, block


def dealt(weights: dict[str, float], block: int) -> dict[str, int]:
    """Sequences of a block: weights normalised, times the block, cut to whole numbers; the largest takes the rest."""
    total = sum(weights.values())
    counts = np.array([weight / total * block for weight in weights.values()]).astype(np.int32)
    counts[np.argmax(counts)] += block - counts.sum()
    return dict(zip(weights, counts.tolist(), strict=True))


def test_a_static_mixture_is_a_mapping_with_exact_weights() -> None:
    shares = {"web": 2 / 3, "code": 1 / 3}
    ((start, weights),), block = read_stages(LevanterWeights().render(static_plan(shares)))
    assert (start, weights, block) == (0, shares, 2048)


def test_the_block_grows_until_every_domain_gets_a_sequence() -> None:
    shares = {"web": 0.5, "code": 0.4999, "wiki": 0.0001}
    ((_, weights),), block = read_stages(LevanterWeights().render(static_plan(shares)))
    assert (weights, block) == (shares, 16384)
    assert dealt(weights, block)["wiki"] == 1
    assert dealt(weights, block // 2)["wiki"] == 0


def test_a_weight_below_one_sequence_of_the_largest_block_is_left_out_and_said() -> None:
    export = LevanterWeights().render(static_plan(THIRDS))
    ((_, weights),), block = read_stages(export)
    assert block == 32768
    assert set(weights) == {"web", "code"}
    assert sum(weights.values()) == pytest.approx(1, abs=1e-15)
    assert weights["web"] / weights["code"] == pytest.approx(THIRDS["web"] / THIRDS["code"], rel=1e-14)
    assert any(note.startswith("Left out because their weight is less") and '"wiki"' in note for note in export.notes)


def test_shares_that_whole_sequences_cut_by_more_than_a_hundredth_are_told() -> None:
    export = LevanterWeights().render(static_plan({"web": 0.9, "code": 0.0991, "wiki": 0.0009}))
    ((_, weights),), block = read_stages(export)
    assert dealt(weights, block) == {"web": 1845, "code": 202, "wiki": 1}
    (note,) = [note for note in export.notes if note.startswith("Whole sequences")]
    assert f'"wiki" {1 / 2048!r}' in note
    assert '"code"' not in note


def test_stages_start_on_whole_blocks_nearest_to_their_tokens() -> None:
    """With 768 sequences a step, a block of 2048 starts every 8 steps."""
    plan = staged_plan(100_000_000, 150_000_000, 200_000_000, batch_size=768, sequence_length=1024)
    export = LevanterWeights().render(plan)
    staged, block = read_stages(export, batch_size=768)
    assert block == 2048
    assert [p for _, p in staged] == [dict(stage.weights) for stage in plan.stages]
    for (start, _), stage in zip(staged[1:], plan.stages[1:], strict=True):
        assert abs(start * 1024 - stage.from_token) <= 8 * 768 * 1024 / 2
    assert sum(note.startswith("Stage ") for note in export.notes) == 3


def test_stages_closer_than_a_block_are_refused() -> None:
    with pytest.raises(ExportError, match="multiples of 2 steps"):
        LevanterWeights().render(staged_plan(1000, 2_000_000, batch_size=1024, sequence_length=16))


def test_stages_need_the_size_of_a_step() -> None:
    with pytest.raises(ExportError, match=r"batch_size .* and sequence_length"):
        LevanterWeights().render(staged_plan(1000, 2000))


@pytest.mark.parametrize("block", [0, 65_536])
def test_a_block_that_levanter_cannot_index_is_refused(block: int) -> None:
    with pytest.raises(ExportError, match="must be from 1 to 65535"):
        LevanterWeights().render(static_plan(mixture_block_size=block))
