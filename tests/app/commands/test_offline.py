"""``compare``, ``recommend`` and ``predict`` on swarms whose law is known, as a user runs them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli import run
from app.offline import law_names
from mixers.laws import LAWS
from tests.app.swarm_tables import (
    DOMAINS,
    Row,
    domain_rows,
    mixtures,
    run_rows,
    target_rows,
    true_losses,
    write_rows,
    write_swarm,
)

WEIGHTS = np.array([0.25, 0.75])  # of the targets news and sql, as shares
PRIOR = np.array([0.7, 0.2, 0.1])


def weights_of(document: dict[str, Any]) -> np.ndarray:
    return np.array([row["weight"] for row in document["weights"]])


def true_value(p: np.ndarray, kl: float) -> np.ndarray:
    """What the recommendation minimises, under the planted law, shape (m,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = np.where(p > 0, p * np.log(p / PRIOR), 0).sum(axis=-1)
    return true_losses(p) @ WEIGHTS + kl * pull


def grid(step: int = 100) -> np.ndarray:
    """Every mixture in steps of 1 / ``step``."""
    return np.array([(i, j, step - i - j) for i in range(step + 1) for j in range(step + 1 - i)]) / step


# --- compare -------------------------------------------------------------------------------------------------------


def test_compare_finds_the_law_that_the_runs_came_from(swarm: Path, answer: Callable[..., dict[str, Any]]) -> None:
    asked = ["mean", "regmix_linear", "regmix_lightgbm", "log_linear", "bimix"]
    document = answer("compare", swarm, "--laws", ",".join(asked))
    laws = {report["law"]: report for report in document["laws"]}
    assert list(laws) == asked
    assert document["choice"] == "log_linear"
    assert laws["log_linear"]["objective_r2"] > 0.999
    assert laws["mean"]["objective_r2"] < 0.1
    assert [target["target"] for target in laws["log_linear"]["targets"]] == ["news", "sql"]
    assert min(target["r2"] for target in laws["log_linear"]["targets"]) > 0.999
    assert "needs at least" in laws["regmix_lightgbm"]["skipped"]
    assert laws["regmix_lightgbm"]["targets"] == []


def test_every_law_is_compared_unless_some_are_named() -> None:
    assert law_names(None) == list(LAWS)
    assert law_names("log_linear, mean,log_linear") == ["log_linear", "mean"]


def test_compare_says_the_same_for_the_same_seed(swarm: Path, answer: Callable[..., dict[str, Any]]) -> None:
    first, again, other = (answer("compare", swarm, "--laws", "regmix_linear", "--seed", seed) for seed in (7, 7, 8))
    for document in (first, again, other):
        document["laws"][0]["fit_seconds"] = 0
    assert first == again
    assert first["laws"] != other["laws"]


def test_compare_prints_one_table_with_every_law_and_the_choice(
    swarm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", str(swarm), "--laws", "mean, log_linear,regmix_lightgbm,mean"]) == 0
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert [row.split()[1] for row in rows] == ["mean", "log_linear", "regmix_lightgbm"]
    assert "24 runs of 24 mixtures at 1 scale, 3 domains, 2 targets." in out
    assert "Skipped regmix_lightgbm: " in out
    assert "Chosen law: log_linear: " in out


def test_rounded_weights_are_counted_in_the_report(
    tmp_path: Path, answer: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{name: round(float(str(v)), 2) if name[:2] == "w:" else v for name, v in row.items()} for row in run_rows()]
    rows[0]["w:web"] = float(str(rows[0]["w:web"])) + 0.004
    folder = write_swarm(tmp_path / "rounded", rows)
    told = answer("compare", folder, "--laws", "mean", "--tolerance", 0.02)["notes"]
    assert len(told) == 1
    assert "off by rounding" in told[0]
    assert run(["compare", str(folder), "--laws", "mean", "--tolerance", "0.02"]) == 0
    assert f"Note: {told[0]}." in capsys.readouterr().out.splitlines()


# --- recommend -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kl", [0.0, 0.05, 0.5])
def test_recommend_finds_the_best_mixture_of_the_planted_law(
    swarm: Path, answer: Callable[..., dict[str, Any]], kl: float
) -> None:
    document = answer("recommend", swarm, "--law", "log_linear", "--kl", kl)
    p = weights_of(document)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    # The law is recovered, so nothing on a grid of all mixtures may be better by more than its recovery error.
    assert true_value(p, kl) <= true_value(grid(), kl).min() + 1e-4
    predicted = document["predictions"]["recommended"]
    assert predicted["objective"]["mean"] == pytest.approx(float(true_losses(p) @ WEIGHTS), abs=2e-3)
    for name, true in zip(("news", "sql"), true_losses(p), strict=True):
        assert predicted["targets"][name]["mean"] == pytest.approx(float(true), abs=2e-3)
    natural = document["predictions"]["natural"]
    assert list(natural["weights"].values()) == pytest.approx(PRIOR.tolist())
    assert natural["objective"]["mean"] > predicted["objective"]["mean"]


def test_the_epoch_cap_holds_and_epochs_are_counted(swarm: Path, answer: Callable[..., dict[str, Any]]) -> None:
    """5e9 tokens, at most 1.5 times through 2e9 tokens of code: code gets no more than 0.6, books no more than 0.3."""
    plain = weights_of(answer("recommend", swarm, "--law", "log_linear", "--kl", 0))
    assert plain[1] > 0.6  # else the cap would bind nothing
    document = answer(
        "recommend", swarm, "--law", "log_linear", "--kl", 0, "--target-tokens", "5e9", "--max-epochs", 1.5
    )
    rows = {row["domain"]: row for row in document["weights"]}
    assert rows["code"]["max_weight"] == pytest.approx(0.6)
    assert rows["code"]["weight"] == pytest.approx(0.6, abs=1e-5)
    assert rows["code"]["capped"]
    assert rows["books"]["max_weight"] == pytest.approx(0.3)
    for row, available in zip(document["weights"], (7e9, 2e9, 1e9), strict=True):
        assert row["epochs"] == pytest.approx(row["weight"] * 5e9 / available)


def test_the_epoch_cap_of_one_domain_stands_above_that_of_all(
    swarm: Path, answer: Callable[..., dict[str, Any]], refusal: Callable[..., str]
) -> None:
    """5e9 tokens: code may be seen 0.5 times (0.2 of the run), the rest 10 times; 0.05 times is 0.02 of it."""
    asked = ["recommend", swarm, "--law", "log_linear", "--kl", 0, "--target-tokens", "5e9", "--max-epochs", 10]
    document = answer(*asked, "--max-epochs-each", "code=0.5")
    rows = {row["domain"]: row for row in document["weights"]}
    assert rows["code"]["weight"] == pytest.approx(0.2, abs=1e-5)
    assert (rows["code"]["epochs"], rows["code"]["capped"]) == (pytest.approx(0.5, abs=1e-4), True)
    assert rows["books"]["max_weight"] == 1.0
    sentence = refusal(*asked, "--min", "code=0.1", "--max-epochs-each", "code=0.05")
    assert sentence.endswith("the epoch cap of domain 'code' (0.05 epochs: at most 0.02); relax it to 0.25 epochs")
    sentence = refusal("recommend", swarm, "--max-epochs-each", "code=1")
    assert sentence == "--max-epochs-each needs --target-tokens: how many tokens the target run trains on"
    assert "names domain 'cod'; known are" in refusal(*asked, "--max-epochs-each", "cod=1")
    assert "code is 0; it must be above 0" in refusal(*asked, "--max-epochs-each", "code=0")


def test_bounds_of_the_domain_list_hold(tmp_path: Path, answer: Callable[..., dict[str, Any]]) -> None:
    domains = [row | {"max_weight": 0.3 if row["domain"] == "code" else ""} for row in domain_rows()]
    document = answer("recommend", write_swarm(tmp_path / "bounded", domains=domains), "--law", "log_linear", "--kl", 0)
    assert document["weights"][1]["max_weight"] == 0.3
    assert weights_of(document)[1] == pytest.approx(0.3, abs=1e-6)


def test_a_maximised_metric_leads_to_the_same_weights_and_is_told_in_its_own_direction(
    swarm: Path, tmp_path: Path, answer: Callable[..., dict[str, Any]]
) -> None:
    rows: list[Row] = []
    for row in run_rows():
        loss = float(str(row.pop("loss:sql")))
        rows.append(row | {"metric:sql": -loss})
    metric = write_swarm(tmp_path / "metric", rows, targets=[row | {"direction": ""} for row in target_rows()])
    as_loss, as_metric = (answer("recommend", folder, "--law", "log_linear") for folder in (swarm, metric))
    np.testing.assert_allclose(weights_of(as_metric), weights_of(as_loss), atol=1e-12)
    loss, score = (document["predictions"]["recommended"]["targets"]["sql"] for document in (as_loss, as_metric))
    assert (score["mean"], score["low"], score["high"]) == (-loss["mean"], -loss["high"], -loss["low"])
    assert score["low"] <= score["mean"] <= score["high"]


def test_recommend_predicts_at_the_largest_scale_unless_told(
    tmp_path: Path, answer: Callable[..., dict[str, Any]]
) -> None:
    small, large = run_rows(12), [row | {"run_id": f"l{i}", "model_params": 4e6} for i, row in enumerate(run_rows(12))]
    folder = write_swarm(tmp_path / "scales", [*small, *large])
    assert answer("recommend", folder, "--law", "mean")["scale"] == {"model_params": 4e6, "train_tokens": 1e9}
    asked = answer("recommend", folder, "--law", "mean", "--model-params", "1e6", "--train-tokens", "2e9")["scale"]
    assert asked == {"model_params": 1e6, "train_tokens": 2e9}


def test_the_printed_recommendation_has_weights_baselines_and_the_law(
    swarm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recommend", str(swarm), "--law", "log_linear", "--target-tokens", "5e9", "--max-epochs", "2"]) == 0
    out = capsys.readouterr().out
    for expected in ("Law: log_linear", *DOMAINS, "recommended", "natural", "uniform", "best measured", "epochs"):
        assert expected in out


# --- predict -------------------------------------------------------------------------------------------------------


def test_every_query_is_answered_once_in_order_and_right(
    swarm: Path, tmp_path: Path, answer: Callable[..., dict[str, Any]]
) -> None:
    p = mixtures(40, seed=5)
    rows: list[Row] = [
        {"run_id": f"q{99 - i}"} | {f"w:{name}": row[j] for j, name in enumerate(DOMAINS)} for i, row in enumerate(p)
    ]
    out = tmp_path / "predictions.csv"
    at = write_rows(tmp_path / "q.csv", rows)
    document = answer("predict", swarm, "--at", at, "--out", out, "--law", "log_linear")
    assert document["law"] == "log_linear"
    with out.open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [row["run_id"] for row in written] == [row["run_id"] for row in rows]
    assert list(written[0]) == ["run_id", "loss:news", "loss:sql"]
    numbers = np.array([[float(row["loss:news"]), float(row["loss:sql"])] for row in written])
    np.testing.assert_allclose(numbers, true_losses(p), atol=5e-3)
    told = [[query["targets"][name]["mean"] for name in ("news", "sql")] for query in document["predictions"]]
    assert told == numbers.tolist()
    assert document["notes"] == [
        "40 of 40 queries say no model_params: 1e+06 was used",
        "40 of 40 queries say no train_tokens: 1e+09 was used",
    ]


def test_what_is_told_of_a_file_is_told_once_though_it_is_read_twice(
    tmp_path: Path, answer: Callable[..., dict[str, Any]]
) -> None:
    rows = run_rows()
    rows[3]["w:web"] = float(str(rows[3]["w:web"])) + 0.02
    folder = write_swarm(tmp_path / "swarm", rows)
    arguments = ("--at", folder / "runs.csv", "--out", tmp_path / "p.csv", "--law", "regmix_linear")
    document = answer("predict", folder, *arguments)
    assert len(document["warnings"]) == 1
    assert "the first is run 'r3' on line 5, which sums to 1.02" in document["warnings"][0]


def test_queries_are_predicted_at_their_own_scale(tmp_path: Path, answer: Callable[..., dict[str, Any]]) -> None:
    """Two sizes with a known offset of 0.5 between them: each query gets the level of its own size."""
    large: list[Row] = [
        row | {"run_id": f"l{i}", "model_params": 4e6, "loss:news": float(str(row["loss:news"])) - 0.5}
        for i, row in enumerate(run_rows(24))
    ]
    folder = write_swarm(tmp_path / "scales", [*run_rows(24), *large])
    query = {f"w:{name}": weight for name, weight in zip(DOMAINS, (0.5, 0.3, 0.2), strict=True)}
    rows: list[Row] = [{"run_id": "s", "model_params": 1e6} | query, {"run_id": "l", "model_params": ""} | query]
    at = write_rows(tmp_path / "q.csv", rows)
    document = answer("predict", folder, "--at", at, "--out", tmp_path / "p.csv", "--law", "log_linear")
    first, second = (query["targets"]["news"]["mean"] for query in document["predictions"])
    true = true_losses(np.array([[0.5, 0.3, 0.2]]))[0, 0]
    assert first == pytest.approx(true, abs=5e-3)
    assert second == pytest.approx(true - 0.5, abs=5e-3)


def test_wrong_queries_leave_the_old_predictions_alone(
    swarm: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    out = tmp_path / "p.csv"
    out.write_text("old")
    at = write_rows(tmp_path / "q.csv", [{"run_id": "q", "w:web": 1, "w:code": 1, "w:books": 0}])
    assert "sum to 2" in refusal("predict", swarm, "--at", at, "--out", out, "--law", "mean")
    assert out.read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["p.csv", "q.csv", "swarm"]


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("compare", "{swarm}", "--laws", "log_linear,oracle"), "no law 'oracle'; known are mean, regmix_linear"),
        (("compare", "{swarm}", "--laws", ""), "no law ''"),
        (("recommend", "{swarm}", "--law", "oracle"), "no law 'oracle'; known are"),
        (("recommend", "{swarm}", "--max-epochs", "4"), "--max-epochs needs --target-tokens"),
        (("recommend", "{swarm}", "--max-epochs", "nan", "--target-tokens", "1e9"), "--max-epochs is nan"),
        (("recommend", "{swarm}", "--target-tokens", "0"), "--target-tokens is 0; it must be a positive number"),
        (("recommend", "{swarm}", "--kl", "-1"), "--kl is -1; it must be 0 or more"),
        (("recommend", "{swarm}", "--model-params", "-5"), "--model-params is -5; it must be a positive count"),
        (("recommend", "{swarm}", "--target-tokens", "1e11", "--max-epochs", "4"), "fewer than the 1e+11 of the run"),
        (("compare", "{swarm}", "--tolerance", "2"), "the tolerance is 2; it must be at least 0 and less than 1"),
        (("compare", "{swarm}/absent"), "absent does not exist"),
        (("predict", "{swarm}", "--at", "{swarm}/no.csv", "--out", "{swarm}/p.csv"), "no.csv does not exist"),
        (("predict", "{swarm}", "--at", "{swarm}/runs.csv", "--out", "{swarm}/runs.csv"), "is read as input"),
        (("predict", "{swarm}", "--at", "{swarm}/runs.csv", "--out", "{swarm}/no/p.csv"), "does not exist"),
        (("predict", "{swarm}", "--at", "{swarm}/runs.csv"), "Missing option '--out'"),
        (("compare",), "Missing argument 'FOLDER'"),
        (("compare", "{swarm}", "--seed", "-1"), "--seed"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(
    swarm: Path, refusal: Callable[..., str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refusal(*(argument.format(swarm=swarm) for argument in arguments))


def test_runs_from_which_nothing_can_be_learned_are_refused(tmp_path: Path, refusal: Callable[..., str]) -> None:
    one = write_swarm(tmp_path / "one", run_rows(1))
    assert "holds one measured run; a law needs runs of several mixtures" in refusal("compare", one)
    equal = write_swarm(tmp_path / "equal", [run_rows(1)[0] | {"run_id": f"r{i}"} for i in range(5)])
    for command in ("compare", "recommend"):
        assert "5 runs have the same mixture" in refusal(command, equal)


def test_an_epoch_cap_without_token_counts_is_refused(tmp_path: Path, refusal: Callable[..., str]) -> None:
    domains: list[Row] = [{"domain": row["domain"], "prior": row["prior"]} for row in domain_rows()]
    folder = write_swarm(tmp_path / "swarm", domains=domains)
    sentence = refusal("recommend", folder, "--target-tokens", "1e9", "--max-epochs", "4")
    assert sentence == "--max-epochs needs available_tokens in domains.csv: an epoch is one pass over them"
    sentence = refusal("recommend", folder, "--target-tokens", "1e9", "--max-epochs-each", "code=4")
    assert sentence.startswith("--max-epochs-each code needs the domain's available_tokens in domains.csv")


def test_a_law_without_any_skill_is_used_only_with_a_warning(
    swarm: Path, answer: Callable[..., dict[str, Any]]
) -> None:
    warnings = answer("recommend", swarm, "--law", "mean")["warnings"]
    assert len(warnings) == 1
    assert "mean predicts unseen runs no better than their mean" in warnings[0]


# --- the public tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["mixinglaws_pile2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("admire_ift", "olmix_reuse"))],
)
def test_all_three_commands_run_on_a_public_table(
    public_table: Callable[[str], Path], tmp_path: Path, answer: Callable[..., dict[str, Any]], name: str
) -> None:
    folder, out = public_table(name), tmp_path / "p.csv"
    runs = answer("compare", folder, "--laws", "mean,regmix_linear")["runs"]
    document = answer("recommend", folder, "--law", "regmix_linear")
    assert weights_of(document).sum() == pytest.approx(1, abs=1e-6)
    assert document["scale"]["model_params"] is not None
    answer("predict", folder, "--at", folder / "runs.csv", "--out", out, "--law", "regmix_linear")
    assert len(out.read_text(encoding="utf-8").splitlines()) == runs + 1
