"""The GPU benchmark, as far as it runs without a GPU: everything but compiling and capturing."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu_stacking
from benchmarks.plain_decoder import PlainTraining
from proxy_training.corpus_read import Corpus
from proxy_training.spec import ModelSpec
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import TINY, run_of, tiny_settings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    domains = {"short": texts(0, 30), "long": texts(1, 30)}
    return make_corpus(tmp_path_factory.mktemp("gpu"), domains, context=16, validation_fraction=0.2)


@pytest.mark.parametrize("feed_forward", ["swiglu", "gelu"])
def test_operations_are_those_that_pytorch_counts(feed_forward: str, corpus: Corpus) -> None:
    model = ModelSpec.model_validate({"d_model": 64, "n_layers": 3, "d_ff": 176, "feed_forward": feed_forward})
    spec = run_of(tiny_settings(corpus, model=model), {"short": 1.0})
    training, tokens = PlainTraining(spec, CPU), torch.zeros(2, model.context + 1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernels are not counted
        training.step(tokens)
    # Without a fused kernel, masked scores are worked out, too: twice what is due.
    attention = gpu_stacking.step_flops_per_token(model) - gpu_stacking.step_flops_per_token(
        model.model_copy(update={"context": 0})
    )
    expected = gpu_stacking.step_flops_per_token(model) + attention
    # Gains are parameters that no matrix product touches: .3 % of them here.
    assert counter.get_total_flops() / (2 * model.context) == pytest.approx(expected, rel=0.005)


def test_every_arm_is_measured_and_told(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    speeds = gpu_stacking.report_size(TINY, [1, 3], corpus, CPU, seconds=0.01, card_flops=1e12)
    assert [speed.arm for speed in speeds] == ["plain, eager", "stack of 1", "stack of 3"]
    assert gpu_stacking.fastest(speeds) in (1, 3)
    told = capsys.readouterr().out
    for speed in speeds:
        ratio = speed.tokens_per_second / speeds[0].tokens_per_second
        share = speed.tokens_per_second * gpu_stacking.step_flops_per_token(TINY) / 1e12
        (line,) = (line for line in told.splitlines() if speed.arm in line.split("tokens")[0])
        assert f"{ratio:.2f} x plain, eager" in line
        assert f"{share:.1%} of the matrix rate" in line


def test_a_swarm_trains_all_its_runs_and_is_carried_over_by_its_own_rate(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    rate = gpu_stacking.report_swarm(TINY, stack=2, runs=5, corpus=corpus, device=CPU, seconds=0.05)
    hours = 512 * 1e9 / rate / 3600
    assert f"would take {hours:.1f} hours" in capsys.readouterr().out


def test_an_arm_that_does_not_fit_is_left_out(corpus: Corpus) -> None:
    def ready() -> gpu_stacking.Step:
        raise torch.OutOfMemoryError("too large")

    assert gpu_stacking.measure("stack of 64", 64, ready, 64, CPU, 0.01) is None


def test_the_product_that_sets_the_scale_is_timed() -> None:
    assert 1e6 < gpu_stacking.matrix_rate(CPU, 64, 0.01) < 1e14


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu_stacking"])
    gpu_stacking.main()
    assert capsys.readouterr().out == "There is no GPU here, so nothing was measured.\n"
