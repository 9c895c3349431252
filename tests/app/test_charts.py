"""The dashboard's charts, as numbers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.charts import predicted_chart, trajectory_chart, weights_chart
from app.schemas.budgets import BudgetRead
from app.schemas.fits import FitRead, OutOfFoldRead
from app.schemas.recommendations import RecommendationRead
from app.schemas.runs import RunRead, TrajectoryRead
from app.schemas.studies import StudyRead, TargetIn

NOW = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
TARGETS = [
    {"name": "code", "unit": "bits_per_byte", "weight": 3.0},
    {"name": "web", "unit": "bits_per_byte", "weight": 1.0},
    {"name": "accuracy", "unit": "share", "direction": "maximize", "weight": 0.0},
]


def study(**constraints: Any) -> StudyRead:
    domains = [
        {"name": "code", "available_tokens": 1000, "prior": 0.25},
        {"name": "web", "available_tokens": 3000, "prior": 0.75},
        {"name": "notes", "available_tokens": None, "prior": 0.0},
    ]
    domain_set: dict[str, Any] = {"id": str(uuid4()), "study_id": str(uuid4()), "version": 1, "content_hash": "x"}
    domain_set |= {"domains": domains, "renames": {}, "created_at": NOW}
    budget: dict[str, Any] = dict.fromkeys(BudgetRead.model_fields, 0.0) | {
        "exhausted": False,
        "exhausted_on_cpu": False,
    }
    body = {
        "id": str(uuid4()),
        "name": "s",
        "description": "",
        "domain_set": domain_set,
        "targets": TARGETS,
        "objective": {},
        "constraints": constraints,
        "budget": budget,
        "adopted_recommendation_id": None,
        "adopted_mixture": None,
        "adopted_reason": None,
        "run_counts": {},
        "stranded_runs": 0,
        "runs_without_agent": [],
        "created_at": NOW,
    }
    return StudyRead.model_validate_json(json.dumps(body))


def recommendation(**constraints: Any) -> RecommendationRead:
    rows = [
        {"domain": "code", "prior": 0.25, "weight": 0.5, "max_weight": 0.5, "epochs": 2.0, "capped": True},
        {"domain": "web", "prior": 0.75, "weight": 0.5, "max_weight": 1.0, "epochs": 2 / 3, "capped": False},
        {"domain": "notes", "prior": 0.0, "weight": 0.0, "max_weight": 1.0, "epochs": None, "capped": False},
    ]
    body: dict[str, Any] = dict.fromkeys(RecommendationRead.model_fields)
    body |= {name: str(uuid4()) for name in ("id", "study_id", "fit_id")}
    body |= {"progress": 1, "progress_message": "", "pareto": False}
    body |= {"state": "succeeded", "law": "log_linear", "objective": {}, "constraints": constraints, "stages": []}
    body |= {"weights": rows, "predictions": {}, "solver_status": "optimal", "message": "", "runs_hash": "h"}
    body |= {"error": None, "created_at": NOW, "finished_at": NOW}
    return RecommendationRead.model_validate(body)


def test_without_a_recommendation_the_bars_are_the_prior_and_the_caps_follow_from_the_study() -> None:
    chart = weights_chart(study(target_tokens=4000, max_epochs=2, max_weights={"web": 0.9}), None)
    assert [bar.prior for bar in chart.bars] == [0.25, 0.75, 0.0]
    assert [bar.weight for bar in chart.bars] == [None, None, None]
    assert [bar.cap for bar in chart.bars] == [0.5, 0.9, None]  # 2 * 1000 / 4000; the bound; no size known
    assert [bar.prior_epochs for bar in chart.bars] == [1.0, 1.0, None]  # 0.25 * 4000 / 1000; 0.75 * 4000 / 3000
    own = weights_chart(study(target_tokens=4000, max_epochs=2, max_epochs_each={"web": 1}), None)
    assert [bar.cap for bar in own.bars] == [0.5, 0.75, None]  # 1 * 3000 / 4000
    assert own.max_epochs_each == {"web": 1}


def test_a_recommendation_shows_change_epochs_and_the_cap_that_holds_a_weight() -> None:
    chart = weights_chart(study(), recommendation(target_tokens=4000, max_epochs=2))
    code, web, notes = chart.bars
    assert (code.change, code.epochs, code.prior_epochs, code.cap, code.capped) == (2.0, 2.0, 1.0, 0.5, True)
    assert (web.change, web.cap, web.capped) == (pytest.approx(2 / 3), None, False)
    assert (notes.change, notes.epochs) == (None, None)
    assert (chart.target_tokens, chart.max_epochs, chart.law) == (4000, 2, "log_linear")


def test_the_axis_holds_every_bar_and_near_caps_but_a_far_cap_does_not_flatten_the_bars() -> None:
    near = weights_chart(study(target_tokens=4000, max_epochs=2), None)
    assert near.axis_max == pytest.approx(0.75 * 1.18)
    with_cap_beyond = weights_chart(study(max_weights={"code": 0.95}), None)
    assert 0.95 < with_cap_beyond.axis_max <= 1.06
    small = study(max_weights={"code": 0.9})
    small.domain_set.domains[1].prior = 0.3
    assert weights_chart(small, None).axis_max == pytest.approx(0.3 * 1.18)


def fit() -> FitRead:
    def law(name: str, mae: float) -> dict[str, Any]:
        one = {"target": "code", "spearman": 0.5, "mae": mae / 2, "r2": 0.1}
        return {"law": name, "objective_spearman": 0.9, "objective_mae": mae, "objective_r2": 0.8, "targets": [one]}

    skipped = {"law": "bimix", "skipped": "too few runs"}
    body: dict[str, Any] = dict.fromkeys(FitRead.model_fields)
    body |= {name: str(uuid4()) for name in ("id", "study_id", "domain_set_id")}
    body |= dict.fromkeys(("runs_left_out", "runs_excluded", "runs_filtered"), 0)
    body |= {"targets_left_out": [], "state": "succeeded", "progress": 1, "message": ""}
    body |= {"laws": ["mean", "log_linear", "bimix"], "folds": 5, "seed": 0, "runs_used": 3, "runs_hash": "h"}
    body |= {"chosen_law": "log_linear", "reason": "best", "error": None, "created_at": NOW, "finished_at": NOW}
    return FitRead.model_validate(body | {"fidelity": [law("mean", 0.4), law("log_linear", 0.1), skipped]})


def out_of_fold(*points: tuple[float, float], law: str = "log_linear", target: str | None = None) -> OutOfFoldRead:
    rows = [{"run_id": str(i), "observed": y, "predicted": y_hat} for i, (y, y_hat) in enumerate(points)]
    return OutOfFoldRead.model_validate({"fit_id": str(uuid4()), "law": law, "target": target, "points": rows})


def targets() -> list[TargetIn]:
    return [TargetIn.model_validate(target) for target in TARGETS]


def test_predicted_chart_bounds_both_axes_and_carries_the_fidelity_of_the_fit() -> None:
    chart = predicted_chart(out_of_fold((1.0, 1.5), (3.0, 2.0)), fit(), targets())
    assert (chart.low, chart.high) == (pytest.approx(1 - 0.12), pytest.approx(3 + 0.12))
    assert (chart.spearman, chart.mae, chart.r2, chart.baseline_mae) == (0.9, 0.1, 0.8, 0.4)
    assert chart.unit == "bits_per_byte"  # the share has weight 0 and does not count


def test_predicted_chart_of_one_target_takes_the_measures_of_that_target() -> None:
    chart = predicted_chart(out_of_fold((1.0, 1.0), target="code"), fit(), targets())
    assert (chart.spearman, chart.mae, chart.baseline_mae) == (0.5, 0.05, 0.2)
    assert chart.low < 1.0 < chart.high  # one point still gets a width
    unmeasured = predicted_chart(out_of_fold(target="accuracy"), fit(), targets())
    assert (unmeasured.mae, unmeasured.low, unmeasured.high, unmeasured.unit) == (None, 0.0, 1.0, "share")


def run() -> RunRead:
    body: dict[str, Any] = dict.fromkeys(RunRead.model_fields)
    body |= {"id": uuid4(), "study_id": uuid4(), "domain_set_id": uuid4(), "label": "a run", "purpose": "swarm"}
    body |= {"state": "succeeded", "source": "proxy", "exclude_from_fit": False, "weights": {"code": 1.0}, "seed": 0}
    body |= {"attempt": 1, "max_attempts": 3, "progress_tokens": 0, "created_at": NOW, "train_tokens": 200}
    body |= {"priority": 0, "fidelity": "trained"}
    return RunRead.model_validate(body)


def trajectory(*points: tuple[int, dict[str, float]]) -> TrajectoryRead:
    rows = [
        {"train_tokens": tokens, "losses": {name: {"value": value} for name, value in losses.items()}}
        for tokens, losses in points
    ]
    return TrajectoryRead.model_validate({"run_id": UUID(int=1), "points": rows})


def test_trajectory_orders_points_and_the_objective_is_the_weighted_mean_where_it_is_complete() -> None:
    read = trajectory((200, {"code": 2.0, "web": 4.0}), (100, {"code": 3.0, "web": 5.0}), (50, {"code": 9.0}))
    objective, code, web = trajectory_chart(read, run(), targets()).lines
    assert (objective.name, objective.tokens, objective.losses) == ("objective", [100, 200], [3.5, 2.5])
    assert (code.name, code.tokens, code.losses) == ("code", [50, 100, 200], [9.0, 3.0, 2.0])
    assert (web.name, web.tokens) == ("web", [100, 200])


def test_a_maximised_target_counts_negative_in_the_objective_and_is_shown_as_measured() -> None:
    wanted = targets()
    wanted[2].weight = 4.0
    read = trajectory((10, {"code": 2.0, "web": 2.0, "accuracy": 0.5}))
    objective, *_, accuracy = trajectory_chart(read, run(), wanted).lines
    assert objective.losses == [pytest.approx((3 * 2 + 1 * 2 - 4 * 0.5) / 8)]
    assert accuracy.losses == [0.5]
    assert objective.unit == ""  # bits and shares have no common unit


def test_an_objective_beyond_all_numbers_is_left_out_of_its_line() -> None:
    read = trajectory((100, {"code": 1.5e308, "web": 1.5e308}), (200, {"code": 2.0, "web": 4.0}))
    objective, code, _ = trajectory_chart(read, run(), targets()).lines
    assert (objective.tokens, objective.losses) == ([200], [2.5])
    assert code.losses == [1.5e308, 2.0]


def test_a_run_without_measurements_has_no_lines() -> None:
    assert trajectory_chart(trajectory(), run(), targets()).lines == []
