"""``mixwright experts`` as its user sees it: from runs to be foretold to marked results, and on to MixMin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import run
from proxy_training.corpus_read import Corpus
from proxy_training.run_files import open_results, read_specs
from proxy_training.spec import NamedResult, NamedSpec, ProxyResult
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import run_of, tiny_settings


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("expert-commands")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


@pytest.fixture
def specs(tmp_path: Path, corpus: Corpus) -> Path:
    path = tmp_path / "specs.jsonl"
    settings = tiny_settings(corpus, steps=4)
    runs = [NamedSpec(run_id=f"{p}", spec=run_of(settings, {"a": p, "b": 1 - p})) for p in (0.0, 0.4, 1.0)]
    path.write_text("".join(named.model_dump_json() + "\n" for named in runs))
    return path


def test_from_runs_to_marked_results_and_to_mixmin(
    specs: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experts, results, judged = (str(tmp_path / name) for name in ("experts.npz", "results.jsonl", "judged.npz"))
    where = ["--corpus", str(corpus.folder)]
    assert run(["experts", "train", str(specs), *where, "--out", experts, "--base-tokens", "64"]) == 0
    assert "2 experts of" in capsys.readouterr().out
    assert run(["experts", "evaluate", experts, str(specs), *where, "--out", results]) == 0
    assert "'merged'" in capsys.readouterr().out
    with open_results(Path(results)) as found:
        lines = found.known
    assert [line.run_id for line in lines] == ["0.0", "0.4", "1.0"]
    assert {line.fidelity for line in lines} == {"merged"}
    ends = [lines[at].result.losses for at in (0, 2)]
    assert ends[0]["b"].value < ends[1]["b"].value  # the expert of b knows b's letters, that of a does not
    # Asked again, nothing is measured twice.
    before = Path(results).read_bytes()
    assert run(["experts", "evaluate", experts, str(specs), *where, "--out", results]) == 0
    assert Path(results).read_bytes() == before
    assert "0 mixtures measured by averages of experts, 3 were there already" in capsys.readouterr().out
    assert run(["experts", "log-probs", experts, *where, "--out", judged]) == 0
    capsys.readouterr()
    assert run(["mixmin", judged, "--json"]) == 0
    assert sum(json.loads(capsys.readouterr().out)["weights"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--base-weights", "c=1"], "--base-weights is 'c=1'; write DOMAIN=SHARE with one of a, b"),
        (["--base-weights", "a=much"], "--base-weights is 'a=much'; write DOMAIN=SHARE with one of a, b"),
        (["--base-weights", "a=0.5"], "the shares of --base-weights sum to 0.5; they must sum to 1"),
        (["--base-tokens", "9999"], "base_tokens 9999 must lie in 0 .. 255"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_leaves_nothing(
    given: list[str], said: str, specs: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "experts.npz"
    assert run(["experts", "train", str(specs), "--corpus", str(corpus.folder), "--out", str(out), *given]) == 1
    assert capsys.readouterr().err == f"mixwright: {said}\n"
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_named(
    specs: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "experts.npz"
    assert run(["experts", "train", str(specs), "--corpus", str(corpus.folder), "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith(f"mixwright: {out} cannot be written: ")


def test_averages_are_not_mixed_with_trained_results(
    specs: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experts, out, where = tmp_path / "experts.npz", tmp_path / "results.jsonl", ["--corpus", str(corpus.folder)]
    assert run(["experts", "train", str(specs), *where, "--out", str(experts)]) == 0
    diverged = ProxyResult(status="diverged", train_tokens=1)
    out.write_text(NamedResult.of(read_specs(specs)[1], diverged).model_dump_json() + "\n")
    capsys.readouterr()
    assert run(["experts", "evaluate", str(experts), str(specs), *where, "--out", str(out)]) == 1
    assert (
        capsys.readouterr().err == f"mixwright: {out} holds run '0.4' as trained; name another file for merged ones\n"
    )


def test_an_evaluation_without_experts_leaves_no_empty_results(tmp_path: Path) -> None:
    out = tmp_path / "merged.jsonl"
    given = [str(tmp_path / "none.npz"), str(tmp_path / "specs.jsonl"), "--corpus", str(tmp_path), "--out", str(out)]
    assert run(["experts", "evaluate", *given]) == 1
    assert not out.exists()
