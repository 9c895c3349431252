"""``mixwright proxy specs`` and ``proxy table``: from a corpus's manifest to runs, from results to a swarm folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.cli import run
from app.formats.corpus_manifest import read_corpus
from app.formats.run_lines import lines_of, read_run_lines
from app.formats.swarm_folder import read_swarm
from app.schemas.run_fidelity import RunFidelity
from proxy_training.spec import Measured, NamedResult, NamedSpec, ProxyResult, ProxySpec, Stage, TrajectoryPoint

Refusal = Callable[..., str]
TOKENS = {"web": 600, "code": 300, "books": 100}
C, B = np.array([1.5, 0.6, 1.0]), np.diag([-1.0, -2.0, -0.5])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    domains = [
        {"name": name, "source": "", "licence": "", "train": {"tokens": tokens, "documents": tokens // 50}}
        for name, tokens in TOKENS.items()
    ]
    (folder / "manifest.json").write_text(json.dumps({"corpus_hash": "h1", "vocab_size": 300, "domains": domains}))
    return folder


def make_specs(folder: Path, corpus: Path, *arguments: str) -> dict[str, NamedSpec]:
    """The specs that the command writes, by run."""
    path = folder / "specs.jsonl"
    path.unlink(missing_ok=True)
    assert run(["proxy", "specs", "--corpus", str(corpus), "--out", str(path), *arguments]) == 0
    return read_run_lines(NamedSpec, [path])


def true_losses(spec: ProxySpec, tokens: int) -> dict[str, Measured]:
    """A known law of weights and tokens."""
    p = np.array([spec.stages[0].weights.get(name, 0.0) for name in TOKENS])
    values = C + np.exp(B @ p) + 10 / tokens
    return {name: Measured(value=value) for name, value in zip(TOKENS, values.tolist(), strict=True)}


def result_of(named: NamedSpec, **metrics: float) -> NamedResult:
    """What a run would measure under the law, at half of its tokens and at the end."""
    tokens = named.spec.settings.train_tokens
    measured = {name: Measured(value=value) for name, value in metrics.items()}
    points = tuple(
        TrajectoryPoint(train_tokens=at, losses=true_losses(named.spec, at), metrics=measured)
        for at in (tokens // 2, tokens)
    )
    result = ProxyResult(
        status="succeeded", train_tokens=tokens, losses=points[-1].losses, metrics=measured, trajectory=points
    )
    return NamedResult.of(named, result)


def write_results(folder: Path, results: list[NamedResult]) -> Path:
    path = folder / "results.jsonl"
    path.write_text(lines_of(results))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence of a command that must refuse."""
    capsys.readouterr()
    assert run(["proxy", *arguments]) == 1
    return capsys.readouterr().err.strip()


def test_a_design_draws_around_the_natural_mixture_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    specs = make_specs(tmp_path, corpus, "--count", "200", "--tokens", "4096")
    p = np.array([[named.spec.stages[0].weights.get(name, 0.0) for name in TOKENS] for named in specs.values()])
    assert list(specs)[:2] == ["mix-000", "mix-001"]
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-9
    root = np.sqrt([600, 300, 100])  # the design tempers the natural mixture by 1/2
    assert np.abs(p.mean(axis=0) - root / root.sum()).max() < 0.08  # 4 standard errors of a one-hot draw: 0.14
    assert specs == make_specs(tmp_path, corpus, "--count", "200", "--tokens", "4096")
    assert specs != make_specs(tmp_path, corpus, "--count", "200", "--tokens", "4096", "--seed", "1")


def test_settings_come_from_options_the_file_and_the_corpus(corpus: Path, tmp_path: Path) -> None:
    shared = {"train_tokens": 10**6, "eval_sequences": 7, "optimizer": {"weight_decay": 0.1}, "model": {"context": 32}}
    (tmp_path / "settings.json").write_text(json.dumps(shared))
    arguments = ["--count", "1", "--settings", str(tmp_path / "settings.json"), "--tokens", "40960", "--model", "1M"]
    arguments += ["--schedule", "wsd", "--learning-rate", "0.01", "--measure-at", "8192", "--measure-at", "16384"]
    [named] = make_specs(tmp_path, corpus, *arguments).values()
    settings = named.spec.settings
    assert (settings.train_tokens, settings.measure_at_tokens, settings.eval_sequences) == (40960, (8192, 16384), 7)
    assert (settings.optimizer.schedule, settings.optimizer.learning_rate) == ("wsd", 0.01)
    assert settings.optimizer.weight_decay == 0.1
    assert (settings.model.d_model, settings.model.context, settings.model.vocab_size) == (128, 32, 300)
    assert settings.corpus_hash == "h1"


def test_a_table_of_mixtures_gives_a_run_for_each_row_and_seed(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "mixtures.csv").write_text("run_id,w:code,w:web,w:books\nleft,0.25,0.75,0\nright,0.5,0.25,0.25\n")
    arguments = ["--mixtures", str(tmp_path / "mixtures.csv"), "--tokens", "4096"]
    specs = make_specs(tmp_path, corpus, *arguments, "--train-seed", "4", "--train-seed", "5")
    assert list(specs) == ["left-seed4", "left-seed5", "right-seed4", "right-seed5"]
    assert specs["left-seed5"].spec.stages[0].weights == {"web": 0.75, "code": 0.25}
    assert specs["left-seed5"].spec.seed == 5
    assert len({named.spec.settings.batch_key for named in specs.values()}) == 1


def test_results_become_a_swarm_folder_with_the_values_that_were_measured(corpus: Path, tmp_path: Path) -> None:
    specs = make_specs(tmp_path, corpus, "--count", "6", "--tokens", "4096")
    path = write_results(tmp_path, [result_of(named, f1=0.25, latency=3.0) for named in specs.values()][::-1])
    arguments = ["proxy", "table", str(path), "--specs", str(tmp_path / "specs.jsonl"), "--corpus", str(corpus)]
    assert run([*arguments, "--out", str(tmp_path / "swarm"), "--minimize", "latency"]) == 0
    swarm = read_swarm(tmp_path / "swarm")
    assert swarm.runs.run_ids == tuple(specs)
    assert swarm.runs.domains.names == ("web", "code", "books")
    assert swarm.runs.domains.available_tokens.tolist() == [600, 300, 100]
    assert swarm.mean_document_tokens == {"web": 50, "code": 50, "books": 50}
    assert swarm.runs.targets.names == ("web", "code", "books", "f1", "latency")
    assert swarm.runs.targets.maximised == (False, False, False, True, False)
    for row, named in enumerate(specs.values()):
        losses = [loss.value for loss in true_losses(named.spec, 4096).values()]
        assert swarm.runs.losses[row].tolist() == [*losses, -0.25, 3.0]  # to the last bit
        weights = named.spec.stages[0].weights
        assert swarm.runs.p[row].tolist() == pytest.approx([weights.get(name, 0.0) for name in TOKENS], abs=1e-15)
    assert set(swarm.runs.model_params) == {26784}


def test_results_of_other_runs_of_the_same_names_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = make_specs(tmp_path, corpus, "--count", "3", "--tokens", "4096")
    path = write_results(tmp_path, [result_of(named) for named in specs.values()])
    make_specs(tmp_path, corpus, "--count", "3", "--tokens", "8192")
    said = refused(
        capsys, "table", str(path), "--specs", str(tmp_path / "specs.jsonl"), "--out", str(tmp_path / "swarm")
    )
    assert "the result of run 'mix-0' is that of another spec" in said


def test_a_trajectory_gives_a_row_for_every_point(corpus: Path, tmp_path: Path) -> None:
    specs = make_specs(tmp_path, corpus, "--count", "3", "--tokens", "4096")
    path = write_results(tmp_path, [result_of(named) for named in specs.values()])
    out = ["--specs", str(tmp_path / "specs.jsonl"), "--out", str(tmp_path / "swarm")]
    assert run(["proxy", "table", str(path), *out, "--trajectory"]) == 0
    runs = read_swarm(tmp_path / "swarm").runs
    assert runs.run_ids == ("mix-0@2048", "mix-0", "mix-1@2048", "mix-1", "mix-2@2048", "mix-2")
    assert runs.train_tokens.tolist() == [2048, 4096] * 3
    assert runs.losses[0, 0] - runs.losses[1, 0] == pytest.approx(10 / 2048 - 10 / 4096)


@pytest.mark.parametrize(("schedule", "warned"), [("constant", 0), ("wsd", 0), ("cosine", 3), ("linear", 3)])
def test_points_that_no_shorter_run_would_reach_are_warned_of(
    schedule: str, warned: int, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = make_specs(tmp_path, corpus, "--count", "3", "--tokens", "4096", "--schedule", schedule)
    path = write_results(tmp_path, [result_of(named) for named in specs.values()])
    out = ["--specs", str(tmp_path / "specs.jsonl"), "--out", str(tmp_path / "swarm")]
    assert run(["proxy", "table", str(path), *out, "--trajectory"]) == 0
    assert (f"{warned} points on the way are not those" in capsys.readouterr().out) == bool(warned)


def test_results_of_averaged_experts_are_marked_and_read_only_when_asked_for(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = list(make_specs(tmp_path, corpus, "--count", "6", "--tokens", "4096").values())
    results = [result_of(named) for named in specs]
    merged = [result.model_copy(update={"fidelity": "merged"}) for result in results]
    arguments = ["--specs", str(tmp_path / "specs.jsonl"), "--out", str(tmp_path / "swarm")]
    path = write_results(tmp_path, [*merged[:2], *results[2:]])
    assert run(["proxy", "table", str(path), *arguments]) == 0
    assert read_swarm(tmp_path / "swarm").runs.run_ids == tuple(named.run_id for named in specs[2:])
    capsys.readouterr()
    assert run(["proxy", "table", str(write_results(tmp_path, merged)), *arguments]) == 0
    assert f"mixwright compare {tmp_path / 'swarm'} --fidelity merged" in capsys.readouterr().out.replace("\n", "")
    assert len(read_swarm(tmp_path / "swarm", fidelity=RunFidelity.MERGED).runs.run_ids) == 6


def test_lists_that_the_team_has_edited_stay_as_they_are(corpus: Path, tmp_path: Path) -> None:
    specs = make_specs(tmp_path, corpus, "--count", "3", "--tokens", "4096")
    path = write_results(tmp_path, [result_of(named) for named in specs.values()])
    arguments = ["proxy", "table", str(path), "--specs", str(tmp_path / "specs.jsonl"), "--corpus", str(corpus)]
    arguments += ["--out", str(tmp_path / "swarm")]
    assert run(arguments) == 0
    edited = "target,weight\nweb,1\ncode,5\nbooks,0\n"
    (tmp_path / "swarm" / "targets.csv").write_text(edited)
    assert run(arguments) == 0
    assert (tmp_path / "swarm" / "targets.csv").read_text() == edited
    assert read_swarm(tmp_path / "swarm").runs.targets.weights.tolist() == [1, 5, 0]


def test_what_is_no_data_point_is_left_out_and_told(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = list(make_specs(tmp_path, corpus, "--count", "4", "--tokens", "4096").values())
    halves = [Stage(from_token=a, to_token=a + 2048, weights={"web": 1.0}) for a in (0, 2048)]
    staged = NamedSpec(run_id="staged", spec=ProxySpec(settings=specs[0].spec.settings, stages=tuple(halves)))
    (tmp_path / "more.jsonl").write_text(lines_of([staged]))
    diverged = NamedResult.of(specs[1], ProxyResult(status="diverged", train_tokens=64))
    path = write_results(tmp_path, [result_of(specs[0]), diverged, result_of(specs[2]), result_of(staged)])
    arguments = [
        "proxy",
        "table",
        str(path),
        "--specs",
        str(tmp_path / "specs.jsonl"),
        "--out",
        str(tmp_path / "swarm"),
    ]
    assert run([*arguments, "--specs", str(tmp_path / "more.jsonl")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 5 runs have no result yet" in said
    assert "1 runs changed their weights on the way" in said
    assert "1 of 3 rows measure no target" in said
    assert read_swarm(tmp_path / "swarm").runs.run_ids == ("mix-0", "mix-2")
    rows = list(csv.DictReader((tmp_path / "swarm" / "runs.csv").read_text().splitlines()))
    assert [row["loss:web"] == "" for row in rows] == [False, True, False]


def test_wrong_input_is_refused_in_one_sentence(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = make_specs(tmp_path, corpus, "--count", "2", "--tokens", "4096")
    path, out = tmp_path / "specs.jsonl", str(tmp_path / "new.jsonl")
    of = ["specs", "--corpus", str(corpus), "--out", out]
    assert "is there already; name another file" in refused(capsys, *of[:-1], str(path), "--count", "2")
    assert "give --tokens" in refused(capsys, *of, "--count", "2")
    assert "give either --count" in refused(capsys, *of, "--tokens", "4096")
    assert "there are dirichlet" in refused(capsys, *of, "--tokens", "4096", "--count", "2", "--design", "x")
    assert "there is no preset '2M'" in refused(capsys, *of, "--tokens", "4096", "--count", "2", "--model", "2M")
    assert "less than one step" in refused(capsys, *of, "--tokens", "9", "--count", "2")
    assert "it has no manifest.json" in refused(
        capsys, *of[:2], str(tmp_path), *of[3:], "--tokens", "9", "--count", "2"
    )
    (tmp_path / "other.json").write_text('{"corpus_hash": "h2"}')
    assert "corpus_hash: it is 'h2'" in refused(capsys, *of, "--count", "1", "--settings", str(tmp_path / "other.json"))
    assert not Path(out).exists()

    results = write_results(tmp_path, [result_of(named) for named in specs.values()])
    of = ["table", str(results), "--out", str(tmp_path / "swarm"), "--specs"]
    (tmp_path / "empty.jsonl").write_text("")
    assert "which no file of specs names" in refused(capsys, *of, str(tmp_path / "empty.jsonl"))
    assert "--minimize names 'f1', which is no metric" in refused(capsys, *of, str(path), "--minimize", "f1")
    (tmp_path / "cut.jsonl").write_text(path.read_text()[:-30])
    assert "cut.jsonl, line 2: Invalid JSON" in refused(capsys, *of, str(tmp_path / "cut.jsonl"))
    assert "which an earlier file names already" in refused(capsys, *of, str(path), "--specs", str(path))
    other = corpus / "manifest.json"
    other.write_text(other.read_text().replace("h1", "h2"))
    assert "is for the corpus h1, others for h2" in refused(capsys, *of, str(path), "--corpus", str(corpus))
    other.write_text(other.read_text().replace('"tokens"', '"token"'))
    assert "manifest.json is damaged; build the corpus again" in refused(
        capsys, *of, str(path), "--corpus", str(corpus)
    )
    assert not (tmp_path / "swarm").exists()


def test_the_summary_reads_what_the_corpus_builder_writes(tmp_path: Path) -> None:
    text_corpora = pytest.importorskip("tests.proxy_training.text_corpora", reason="torch is not installed")
    texts = {"a": text_corpora.texts(0, 30), "b": text_corpora.texts(1, 60)}
    built = text_corpora.make_corpus(tmp_path, texts, context=16, validation_fraction=0.2)
    summary = read_corpus(built.folder)
    assert (summary.corpus_hash, summary.vocab_size) == (built.corpus_hash, built.vocab_size)
    assert [(domain.name, domain.tokens) for domain in summary.domains] == [
        (name, built.train_tokens(name)) for name in ("a", "b")
    ]
