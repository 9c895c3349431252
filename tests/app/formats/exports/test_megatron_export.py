"""The Megatron blend, read by megatron-core's own reader of blends and blended by its own index."""

from __future__ import annotations

import json
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.formats.exports.base import ExportError
from app.formats.exports.megatron import MegatronBlend
from tests.app.formats.exports.sample_plans import THIRDS, domain, staged_plan, static_plan, text_of


@pytest.fixture(scope="module")
def datasets() -> Any:
    """Megatron's package of data sets; importing it warns of torch's and its own old parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("megatron.core.datasets.utils")


def read_splits(text: str, datasets: Any) -> list[Any]:
    """As Megatron reads ``--per-split-data-args-path``: all three keys are indexed, and text is split at spaces."""
    found = json.loads(text)
    splits = [found[split] for split in ("train", "valid", "test")]
    return [datasets.get_blend_from_list(split.split() if isinstance(split, str) else split) for split in splits]


def test_megatron_reads_back_prefixes_and_exact_weights(datasets: Any) -> None:
    export = MegatronBlend().render(static_plan())
    train, valid, test = read_splits(text_of(export, "blend.json"), datasets)
    assert train == (["/data/web", "/data/code", "/data/wiki"], list(THIRDS.values()))
    assert (valid, test) == (None, None)
    assert all(weight > 0 for weight in train[1])


def test_megatron_draws_the_recommended_shares(datasets: Any) -> None:
    """Its compiled index deals samples so that no domain is ever more than one sample behind."""
    from megatron.core.datasets import helpers_cpp

    plan = static_plan({"web": 0.61, "code": 0.2899, "wiki": 0.1001})
    _, weights = read_splits(text_of(MegatronBlend().render(plan), "blend.json"), datasets)[0]
    samples = 10_000
    chosen, within = np.zeros(samples, np.int16), np.zeros(samples, np.int64)
    helpers_cpp.build_blending_indices(chosen, within, datasets.normalize(weights), 3, samples, False)
    assert np.bincount(chosen) == pytest.approx([6100, 2899, 1001], abs=1)


def test_validation_and_test_prefixes_are_splits_of_their_own(datasets: Any) -> None:
    export = MegatronBlend().render(static_plan(valid="/data/held.bin", test="/data/test out"))
    _, valid, test = read_splits(text_of(export, "blend.json"), datasets)
    assert (valid, test) == ((["/data/held"], [1.0]), (["/data/test out"], [1.0]))
    assert not any("--eval-iters" in note for note in export.notes)


def test_the_two_files_of_a_data_set_are_one_prefix(datasets: Any) -> None:
    plan = replace(static_plan({"web": 1.0}), domains=(domain("web", 10, None, "/d/a.bin", "/d/a.idx"),))
    assert read_splits(text_of(MegatronBlend().render(plan), "blend.json"), datasets)[0] == (["/d/a"], [1.0])


def test_shards_share_the_weight_of_their_domain(datasets: Any) -> None:
    shards = domain("web", None, None, "/d/a", "/d/b", "/d/c")
    plan = replace(static_plan({"web": 0.6, "code": 0.4}), domains=(shards, domain("code")))
    export = MegatronBlend().render(plan)
    prefixes, weights = read_splits(text_of(export, "blend.json"), datasets)[0]
    assert prefixes == ["/d/a", "/d/b", "/d/c", "/data/code"]
    assert weights == pytest.approx([0.2, 0.2, 0.2, 0.4])
    assert any('"web" was split evenly' in note for note in export.notes)


def test_stages_are_phases_with_a_blend_each(datasets: Any, tmp_path: Path) -> None:
    plan = staged_plan(800_000, 1_200_000, 2_000_000, global_batch_size=10, sequence_length=100)
    export = MegatronBlend().render(plan)
    names = [f"blend.stage-{n}.json" for n in (1, 2, 3)]
    assert [file.name for file in export.files] == [*names, "phases.sh"]
    for name, stage in zip(names, plan.stages, strict=True):
        prefixes, weights = read_splits(text_of(export, name), datasets)[0]
        assert dict(zip(prefixes, weights, strict=True)) == {f"/data/{k}": v for k, v in stage.weights.items()}
    (tmp_path / "phases.sh").write_text(text_of(export, "phases.sh"))
    script = f'source {tmp_path}/phases.sh; printf "%s\\n" "${{PHASE_ARGS[@]}}" "${{PHASE_BLENDS[@]}}"'
    sourced = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    assert sourced.stdout.split() == ["--phase-transition-iterations", "800,1200", "--train-iters", "2000", *names]


def test_a_boundary_inside_an_iteration_is_moved_and_said() -> None:
    export = MegatronBlend().render(staged_plan(800_400, 2_000_000, global_batch_size=10, sequence_length=100))
    assert "Stage 1 ends 400 tokens earlier, at step 800." in export.notes
    assert "--phase-transition-iterations 800 --train-iters 2000" in text_of(export, "phases.sh")


def test_provenance_epochs_and_the_three_habits_stand_in_the_file() -> None:
    export = MegatronBlend().render(static_plan(tokens=6_000_000))
    told = json.loads(text_of(export, "blend.json"))["_mixwright"]
    assert told["provenance"]["runs_hash"] == "ab12"
    assert told["epochs"] == pytest.approx({name: 6 * share for name, share in THIRDS.items()})
    assert told["notes"] == list(export.notes)
    for start in ("Weight unit", "When a source runs out", "Resuming"):
        assert any(note.startswith(start) for note in export.notes)
    assert 'Left out because their weight is 0, at least in one stage: "law".' in export.notes


def test_stages_need_the_size_of_an_iteration() -> None:
    with pytest.raises(ExportError, match=r"global_batch_size .* and sequence_length"):
        MegatronBlend().render(staged_plan(10, 20, global_batch_size=8))


def test_stages_shorter_than_an_iteration_are_refused() -> None:
    with pytest.raises(ExportError, match="stage 1 ends at 10 tokens"):
        MegatronBlend().render(staged_plan(10, 20_000, global_batch_size=8, sequence_length=128))


@pytest.mark.parametrize("path", [" /data/web", "/data/web ", ".bin"])
def test_a_prefix_that_megatron_would_change_is_refused(path: str) -> None:
    plan = replace(static_plan({"web": 1.0}), domains=(domain("web", 1, None, path),))
    with pytest.raises(ExportError, match="no prefix of a Megatron data set"):
        MegatronBlend().render(plan)


def test_a_domain_without_a_path_is_named() -> None:
    plan = static_plan()
    bare = tuple(replace(each, paths=()) if each.name == "code" else each for each in plan.domains)
    with pytest.raises(ExportError, match=r"no path is bound for code; .*'megatron'"):
        MegatronBlend().render(replace(plan, domains=bare))
