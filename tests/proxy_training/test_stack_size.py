"""How many proxies train together: by what memory holds, and by what pays."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.stack_memory import measured_peak
from proxy_training.free_memory import free_host_bytes
from proxy_training.model import layout_of
from proxy_training.model_presets import PRESETS
from proxy_training.spec import ModelSpec, ProxySettings
from proxy_training.stack_memory import stack_memory
from proxy_training.stack_size import fastest_stack, fitting_stack, needed_bytes
from tests.proxy_training.text_corpora import make_corpus, texts

GIB = 2**30


def settings_of(preset: str, **keys: object) -> ProxySettings:
    model = ModelSpec.model_validate({"preset": preset})
    return ProxySettings.model_validate({"corpus_hash": "corpus", "model": model, "train_tokens": 10**6, **keys})


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "stack"), [("0.2M", 16), ("1M", 2)])
def test_the_estimate_is_near_the_measured_peak(preset: str, stack: int, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, {"short": texts(0, 60), "long": texts(1, 60)}, validation_fraction=0.2)
    peak = measured_peak(ModelSpec.model_validate({"preset": preset}), stack, corpus.folder)
    assert 0.5 < peak.ratio < 2


def test_a_model_that_does_nearly_nothing_needs_its_parameters_gradients_and_moments() -> None:
    model = ModelSpec(d_model=512, n_layers=8, n_heads=8, d_ff=2048, context=8)
    settings = ProxySettings(corpus_hash="corpus", model=model, train_tokens=10**6, batch_sequences=1)
    memory = stack_memory(settings, "cpu")
    assert memory.state_bytes == 16 * layout_of(model).params
    assert memory.member_bytes == 24 * layout_of(model).params


def test_scores_exist_for_some_tokens_at_a_time() -> None:
    def score_bytes(batch_sequences: int) -> int:
        models = (ModelSpec(vocab_size=size) for size in (2, 50_000))
        few, many = (
            ProxySettings(corpus_hash="c", model=model, train_tokens=10**6, batch_sequences=batch_sequences)
            for model in models
        )
        return stack_memory(many, "cpu").step_bytes - stack_memory(few, "cpu").step_bytes

    # 64 tokens a sequence, three copies of 4 bytes; on a CPU no more than 128 tokens of a large vocabulary.
    assert score_bytes(1) == 64 * 12 * 49_998
    assert score_bytes(16) == 12 * (128 * 50_000 - 16 * 64 * 2)


def test_members_add_up_and_half_precision_halves_activations_alone() -> None:
    settings = settings_of("20M")
    assert needed_bytes(settings, "cpu", 7) == 7 * needed_bytes(settings, "cpu")
    full, half = stack_memory(settings, "cuda"), stack_memory(settings, "cuda", activation_bytes=2)
    assert half.state_bytes == full.state_bytes
    assert full.step_bytes / 2 < half.step_bytes < full.step_bytes
    assert needed_bytes(settings, "cuda") == half.member_bytes
    assert needed_bytes(settings_of("20M", precision="fp32"), "cuda") == full.member_bytes


def test_what_fits_grows_with_memory_and_is_never_less_than_one() -> None:
    settings = settings_of("1M")
    one = needed_bytes(settings, "cpu")
    assert fitting_stack(settings, "cpu", 0) == 1
    assert fitting_stack(settings, "cpu", 11 * one) == 7  # seven tenths of it


@pytest.mark.parametrize(("kind", "precision"), [("cpu", "fp32"), ("cpu", "bf16"), ("cuda", "bf16")])
def test_larger_models_are_not_stacked_higher(kind: str, precision: str) -> None:
    stacks = [fastest_stack(settings_of(preset, precision=precision), kind) for preset in PRESETS]
    assert stacks == sorted(stacks, reverse=True)
    assert stacks[0] > 1
    assert stacks[-1] == 1


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write(tmp_path / "proc" / "meminfo", "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable:  8388608 kB\n")
    return tmp_path / "proc"


def test_without_a_control_group_the_machine_decides(proc: Path, tmp_path: Path) -> None:
    assert free_host_bytes(proc, (tmp_path / "none",)) == 8 * GIB


@pytest.mark.parametrize("folder", ["", "kubepods", "kubepods/pod7"])
def test_a_control_group_of_version_2_leaves_less(proc: Path, tmp_path: Path, folder: str) -> None:
    root = tmp_path / "cgroup"
    write(proc / "self" / "cgroup", "0::/kubepods/pod7\n")
    write(root / folder / "memory.max", f"{4 * GIB}\n")
    write(root / folder / "memory.current", f"{2 * GIB}\n")
    write(root / folder / "memory.stat", f"anon {GIB}\ninactive_file {GIB}\nactive_file 5\n")
    assert free_host_bytes(proc, (root,)) == 3 * GIB


def test_a_control_group_of_version_1_leaves_less(proc: Path, tmp_path: Path) -> None:
    root = tmp_path / "memory"
    write(proc / "self" / "cgroup", "7:cpuset:/other\n4:memory:/docker/abc\n")
    write(root / "docker" / "abc" / "memory.limit_in_bytes", f"{2 * GIB}\n")
    write(root / "docker" / "abc" / "memory.usage_in_bytes", f"{GIB // 2}\n")
    assert free_host_bytes(proc, (root,)) == 3 * GIB // 2


def test_a_group_without_a_limit_or_beyond_it(proc: Path, tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    write(proc / "self" / "cgroup", "0::/\n")
    write(root / "memory.max", "max\n")
    write(root / "memory.current", f"{GIB}\n")
    assert free_host_bytes(proc, (root,)) == 8 * GIB
    write(root / "memory.max", f"{GIB // 2}\n")
    assert free_host_bytes(proc, (root,)) == 0
