"""The options of ``recommend`` stand above what a study says, name by name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.calls.errors import ClientError
from app.command_options import ReadingOptions
from app.online.recommending import Asked, check_asked
from app.online.wish_bodies import constraints_of, objective_of
from app.recommend_options import ConstraintOptions, ObjectiveOptions, RunOptions, ServiceOptions, ShowOptions, Wish
from app.schemas.studies import StudyRead
from mixers.errors import InvalidInput

NOWHERE = UUID(int=0)


def _study(**fields: Any) -> StudyRead:
    domains = [{"name": "web", "group": "text"}, {"name": "books", "group": "text"}, {"name": "code"}]
    version = {
        "id": NOWHERE,
        "study_id": NOWHERE,
        "version": 1,
        "content_hash": "",
        "domains": domains,
        "renames": {},
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    spent = dict.fromkeys(
        (
            "spent_flops",
            "reserved_flops",
            *(f"{what}_{where}_hours" for what in ("spent", "reserved") for where in ("gpu", "cpu")),
        ),
        0.0,
    )
    told = {
        "id": NOWHERE,
        "name": "s",
        "description": "",
        "domain_set": version,
        "targets": [{"name": "news"}, {"name": "sql", "family": "code"}],
        "objective": {},
        "constraints": {},
        "budget": {"flops": None, "gpu_hours": None, "exhausted": False, "exhausted_on_cpu": False} | spent,
        "adopted_recommendation_id": None,
        "adopted_mixture": None,
        "adopted_reason": None,
        "run_counts": {},
        "stranded_runs": 0,
        "runs_without_agent": [],
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return StudyRead.model_validate(told | fields)


def test_without_options_the_study_decides() -> None:
    study = _study(constraints={"max_weights": {"web": 0.5}}, objective={"kl_to_prior": 0.3})
    assert constraints_of(study, Wish()) is None
    assert objective_of(study, Wish()) is None


def test_an_option_changes_the_names_that_it_gives_and_keeps_the_others() -> None:
    study = _study(constraints={"max_weights": {"web": 0.5, "code": 0.9}, "min_weights": {"books": 0.1}})
    asked = Wish(constraints=ConstraintOptions(max_weight=["code=0.4"], group_min=["text=0.3"]))
    made = constraints_of(study, asked)
    assert made is not None
    assert made.max_weights == {"web": 0.5, "code": 0.4}
    assert (made.min_weights, made.group_min) == ({"books": 0.1}, {"text": 0.3})


def test_the_cap_of_a_domain_joins_those_that_the_study_has() -> None:
    told = {"target_tokens": 10, "max_epochs_each": {"web": 2.0, "code": 4.0}}
    told_domains = [{"name": name, "available_tokens": 5} for name in ("web", "books", "code")]
    study = _study(constraints=told)
    study.domain_set.domains = [type(study.domain_set.domains[0]).model_validate(one) for one in told_domains]
    made = constraints_of(study, Wish(run=RunOptions(max_epochs_each=["code=8"])))
    assert made is not None
    assert made.max_epochs_each == {"web": 2.0, "code": 8.0}
    with pytest.raises(InvalidInput, match="--max-epochs-each web is '-1'; it must be a number of 0 or more"):
        constraints_of(study, Wish(run=RunOptions(max_epochs_each=["web=-1"])))


def test_no_pull_to_the_prior_is_not_the_same_as_none_asked_for() -> None:
    study = _study(objective={"kl_to_prior": 0.3, "target_weights": {"sql": 2.0}})
    made = objective_of(study, Wish(run=RunOptions(kl=0.0)))
    assert made is not None
    assert (made.kl_to_prior, made.target_weights) == (0.0, {"sql": 2.0})


def test_a_file_tells_the_mixture_in_use(tmp_path: Path) -> None:
    path = tmp_path / "current.csv"
    path.write_text("domain,weight\ncode,0.25\nweb,0.5\nbooks,0.25\n")
    run, limits = RunOptions(current=str(path)), ConstraintOptions(max_change=0.05, freeze=["code"])
    made = constraints_of(_study(), Wish(run=run, constraints=limits))
    assert made is not None
    assert made.current == {"web": 0.5, "books": 0.25, "code": 0.25}
    assert (made.max_change, made.freeze) == (0.05, {"code": None})


@pytest.mark.parametrize("standing", ["natural", "uniform", "adopted"])
def test_the_mixture_in_use_may_be_named(standing: str) -> None:
    made = constraints_of(_study(), Wish(run=RunOptions(current=standing)))
    assert made is not None
    assert made.current == standing


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (ConstraintOptions(min_weight=["webb=0.1"]), "--min names domain 'webb'; known are 'web', 'books', 'code'"),
        (ConstraintOptions(max_weight=["web=2"]), "--max web is '2'; it must be a number from 0 to 1"),
        (ConstraintOptions(group_max=["code=0.2"]), "--group-max names group 'code'; known are 'text'"),
        (ConstraintOptions(freeze=["web"]), "--freeze web needs --current"),
    ],
)
def test_a_wrong_name_or_number_is_told_before_the_service_is_asked(limits: ConstraintOptions, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        constraints_of(_study(), Wish(constraints=limits))
    assert str(refused.value).startswith(said)


def test_an_option_that_needs_another_one_says_so() -> None:
    with pytest.raises(ClientError, match="max_epochs needs target_tokens"):
        constraints_of(_study(), Wish(run=RunOptions(max_epochs=4)))
    with pytest.raises(ClientError, match="reference says how minimise_worst is meant"):
        objective_of(_study(), Wish(objective=ObjectiveOptions(reference="natural")))


def test_what_is_for_folders_alone_is_refused_for_a_study() -> None:
    asked = Asked("s", Wish(), ShowOptions(plot=Path("p.png")), ServiceOptions(), "auto", 0, None, None)
    with pytest.raises(ClientError, match="--plot is for swarm folders, and there is no folder s"):
        check_asked(asked, ReadingOptions())


def test_what_is_for_studies_alone_is_refused_for_a_folder(refusal, swarm: Path) -> None:
    assert refusal("recommend", swarm, "--refit") == (
        "--refit is for studies of the service; a folder is worked on here"
    )
