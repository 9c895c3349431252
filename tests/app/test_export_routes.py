"""Exports over HTTP: a finished recommendation in a trainer's format, with paths from the bindings."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import yaml
from fastapi.testclient import TestClient

from app.db import Database
from app.formats.exports import EXPORTS
from app.ids import new_id
from app.models import Binding, Fit, Recommendation
from app.schemas.jobs import JobState
from app.services.jobs import new_job
from tests.app.conftest import StandingClock
from tests.app.study_bodies import create_study, weights

WEIGHTS = {"code": 1 / 3, "law": 0.0, "web": 2 / 3}


@pytest.fixture
def study(api: TestClient) -> str:
    return create_study(api, name='June "model"')


@pytest.fixture
def recommendation(api: TestClient, study: str, database: Database, clock: StandingClock) -> Recommendation:
    """One stage of 12,000 tokens; domains have 5,000, 3,000 and 2,000."""
    return recommend(api, database, study, clock, [{"from_token": 0, "to_token": 12_000, "weights": WEIGHTS}])


def recommend(
    api: TestClient,
    database: Database,
    study: str,
    clock: StandingClock,
    stages: list[Any],
    state: JobState = JobState.SUCCEEDED,
) -> Recommendation:
    """A recommendation as the worker leaves it."""
    run = {"weights": weights(0.5, 0.3, 0.2), "losses": {"code": 2.0, "web": 3.0}}
    assert api.post(f"/v1/studies/{study}/runs", json={"runs": [run] * 6}).status_code == 201
    fit = api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"], "folds": 2})
    assert fit.status_code == 202, fit.text
    made = Recommendation(
        id=new_id(clock.now),
        job=new_job("recommendation", 3, clock.now),
        study_id=UUID(study),
        fit_id=UUID(fit.json()["id"]),
        law="log_linear",
        objective={"kl_to_prior": 0.05},
        constraints={},
        seed=0,
        runs_hash="ab" * 32,
        stages=stages,
        weights=[{"domain": name, "weight": weight} for name, weight in WEIGHTS.items()],
        predictions={},
        created_at=clock.now,
    )
    made.job.state = state
    with database.write() as session:
        session.add(made)
        session.commit()
    return made


def bind(database: Database, recommendation: Recommendation, trainer: str, **options: Any) -> None:
    """Every domain at ``/data/<domain>``."""
    with database.write() as session:
        fit = session.get_one(Fit, recommendation.fit_id)
        paths = {name: [f"/data/{name}"] for name in WEIGHTS}
        session.add(Binding(domain_set_id=fit.domain_set_id, trainer=trainer, paths=paths, options=options))
        session.commit()


def address(recommendation: Recommendation, name: str) -> str:
    return f"/v1/recommendations/{recommendation.id}/exports/{name}"


def test_every_format_is_listed_with_its_options(api: TestClient) -> None:
    formats = {row["name"]: row for row in api.get("/v1/exports").json()["items"]}
    assert list(formats) == list(EXPORTS)
    options = {option["name"]: option for option in formats["megatron"]["options"]}
    assert options["global_batch_size"]["type"] == "integer"
    assert options["valid"] == {
        "name": "valid",
        "type": "string",
        "default": "",
        "about": EXPORTS["megatron"].options["valid"].about,
    }


def test_the_description_of_the_api_lists_the_options(api: TestClient) -> None:
    paths = api.get("/v1/openapi.json").json()["paths"]
    (path,) = [path for path in paths if path.endswith("/exports/{format_name}")]
    parameters = {row["name"]: row for row in paths[path]["get"]["parameters"]}
    assert parameters["sequence_length"]["schema"] == {"type": "integer"}
    assert "megatron" in parameters["sequence_length"]["description"]
    content = paths[path]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/csv", "text/plain", "application/zip"}
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/ExportRead"}


def test_weights_paths_epochs_and_provenance_reach_the_file(
    api: TestClient, database: Database, recommendation: Recommendation, study: str
) -> None:
    bind(database, recommendation, "megatron")
    made = api.get(address(recommendation, "megatron")).json()
    (file,) = made["files"]
    blend = json.loads(file["text"])
    assert blend["train"] == [repr(1 / 3), "/data/code", repr(2 / 3), "/data/web"]
    assert made["epochs"] == pytest.approx({"code": 4000 / 5000, "web": 8000 / 2000})
    assert made["dropped"] == ["law"]
    provenance = blend["_mixwright"]["provenance"]
    assert provenance["study"] == f'June "model" ({study})'
    assert provenance["recommendation"] == str(recommendation.id)
    assert provenance["fit"] == str(recommendation.fit_id)
    assert (provenance["law"], provenance["runs used (sha256)"]) == ("log_linear", "ab" * 32)
    assert provenance["recommended at"] == "2026-01-01T00:00:00+00:00"


def test_the_same_recommendation_gives_the_same_bytes(
    api: TestClient, database: Database, recommendation: Recommendation, clock: StandingClock
) -> None:
    bind(database, recommendation, "maxtext")
    for query in ("", "?download=1"):
        first = api.get(address(recommendation, "maxtext") + query)
        clock.advance(timedelta(days=400).total_seconds())
        again = api.get(address(recommendation, "maxtext") + query)
        assert first.content == again.content
        known = api.get(address(recommendation, "maxtext") + query, headers={"If-None-Match": first.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")


def test_one_file_is_downloaded_as_it_is(api: TestClient, recommendation: Recommendation) -> None:
    made = api.get(address(recommendation, "olmix")).json()
    saved = api.get(address(recommendation, "olmix"), params={"download": "1"})
    assert saved.headers["content-disposition"] == 'attachment; filename="mix.yaml"'
    assert saved.headers["content-type"] == "text/plain; charset=utf-8"
    assert saved.text == made["files"][0]["text"]
    assert yaml.safe_load(saved.text)["mix"]["web"]["weight"] == 2 / 3


def test_several_files_are_downloaded_as_an_archive(
    api: TestClient, database: Database, recommendation: Recommendation
) -> None:
    bind(database, recommendation, "maxtext")
    made = api.get(address(recommendation, "maxtext")).json()
    saved = api.get(address(recommendation, "maxtext"), params={"download": "true"})
    assert saved.headers["content-type"] == "application/zip"
    assert saved.headers["content-disposition"] == f'attachment; filename="maxtext-{recommendation.id}.zip"'
    with zipfile.ZipFile(io.BytesIO(saved.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name).decode() for name in archive.namelist()}
    assert found == {file["name"]: file["text"] for file in made["files"]}


def test_options_of_the_query_stand_above_those_of_the_binding(
    api: TestClient, database: Database, recommendation: Recommendation
) -> None:
    bind(database, recommendation, "megatron", valid="/data/bound", test="/data/test", local_root="/for/another/format")
    made = api.get(address(recommendation, "megatron"), params={"valid": "/data/asked"}).json()
    blend = json.loads(made["files"][0]["text"])
    assert (blend["valid"], blend["test"]) == (["1.0", "/data/asked"], ["1.0", "/data/test"])
    assert made["options"]["valid"] == "/data/asked"


def test_stages_are_exported_as_they_stand(
    api: TestClient, study: str, database: Database, clock: StandingClock
) -> None:
    later = {"code": 0.5, "law": 0.25, "web": 0.25}
    stages = [
        {"from_token": 0, "to_token": 8192, "weights": WEIGHTS},
        {"from_token": 8192, "to_token": 12_288, "weights": later},
    ]
    staged = recommend(api, database, study, clock, stages)
    refused = api.get(address(staged, "levanter"))
    assert refused.status_code == 422
    assert "give the options batch_size" in refused.json()["detail"]
    asked = {"batch_size": "2", "sequence_length": "2", "mixture_block_size": "4"}
    made = api.get(address(staged, "levanter"), params=asked).json()
    staged_weights = yaml.safe_load(made["files"][0]["text"])["data"]["train_weights"]
    assert staged_weights == [[0, {"code": 1 / 3, "web": 2 / 3}], [2048, later]]


def test_a_run_of_unknown_length_needs_its_tokens(
    api: TestClient, study: str, database: Database, clock: StandingClock
) -> None:
    unknown = recommend(api, database, study, clock, [])
    refused = api.get(address(unknown, "olmix"))
    assert refused.status_code == 422
    assert "give the option target_tokens" in refused.json()["detail"]
    made = api.get(address(unknown, "olmix"), params={"target_tokens": "6000"}).json()
    assert made["epochs"] == pytest.approx({"code": 2000 / 5000, "web": 4000 / 2000})


def test_a_missing_binding_is_named(api: TestClient, recommendation: Recommendation) -> None:
    refused = api.get(address(recommendation, "olmo-core"))
    assert refused.status_code == 422
    assert "no path is bound for code, web; bind the domains for trainer 'olmo-core'" in refused.json()["detail"]
    assert "mixwright study bind STUDY olmo-core FILE.csv" in refused.json()["detail"]


def test_an_unknown_option_is_answered_with_those_that_there_are(
    api: TestClient, recommendation: Recommendation
) -> None:
    refused = api.get(address(recommendation, "olmix"), params={"max_epoch": "3"})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["field"], error["accepted"]) == ("max_epoch", "target_tokens, max_epochs")


@pytest.mark.parametrize("value", ["many", "nan", "inf", "-1", "", "9" * 5000])
def test_an_option_of_the_wrong_kind_is_named(api: TestClient, recommendation: Recommendation, value: str) -> None:
    refused = api.get(address(recommendation, "olmix"), params={"max_epochs": value})
    assert refused.status_code == 422
    assert "max_epochs" in refused.json()["detail"]


def test_a_bound_option_of_the_wrong_kind_is_named(
    api: TestClient, database: Database, recommendation: Recommendation
) -> None:
    bind(database, recommendation, "megatron", target_tokens="plenty")
    refused = api.get(address(recommendation, "megatron"))
    assert refused.status_code == 422
    assert '"target_tokens" is "plenty"' in refused.json()["detail"]


def test_an_option_given_twice_is_refused(api: TestClient, recommendation: Recommendation) -> None:
    refused = api.get(f"{address(recommendation, 'olmix')}?max_epochs=1&max_epochs=2")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "max_epochs")


def test_an_unknown_format_is_answered_with_those_that_there_are(
    api: TestClient, recommendation: Recommendation
) -> None:
    missing = api.get(address(recommendation, "megatronn"))
    assert missing.status_code == 404
    assert "megatron, olmo-core" in missing.json()["detail"]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.FAILED])
def test_a_recommendation_without_weights_is_not_exported(
    api: TestClient, study: str, database: Database, clock: StandingClock, state: JobState
) -> None:
    waiting = recommend(api, database, study, clock, [], state)
    assert api.get(address(waiting, "olmix")).status_code == 409
