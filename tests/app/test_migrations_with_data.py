"""Databases of earlier versions, with a row in every table, are brought to the present one and lose nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError

from app.db import Database
from app.main import create_app
from app.migrate import alembic_config, check_version, head_revision, migrating, upgrade
from app.models import Run, RunAttempt, Schedule, Study
from app.services.run_content import content_key
from app.settings import Settings
from migrations.check import differences
from proxy_training.spec import ProxySettings
from tests.app.conftest import BEARER, LOCAL, OWNER_KEY

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STUDY, DOMAINS, TARGET, AGENT = (UUID(int=i) for i in range(1, 5))
FIT_JOB, SEARCH_JOB, FIT, RECOMMENDATION = (UUID(int=i) for i in range(5, 9))
MEASURED, WAITING = UUID(int=9), UUID(int=10)
KEY, LOGIN, IMPORT, SCHEDULE, FIRING = (UUID(int=i) for i in range(11, 16))
MIXTURE = {"web": 0.75, "code <b>": 0.25}

_JOB = {"state": "succeeded", "progress": 1.0, "message": "", "attempt": 1, "max_attempts": 3, "created_at": AT}
_RUN = {
    "study_id": STUDY,
    "domain_set_id": DOMAINS,
    "label": "",
    "purpose": "swarm",
    "source": "proxy",
    "exclude_from_fit": False,
    "weights": MIXTURE,
    "seed": 7,
    "settings": {"corpus_hash": "corpus", "train_tokens": 4096},
    "corpus_hash": "corpus",
    "batch_key": "key",
    "model_params": 10**12,
    "train_tokens": 4096,
    "queue_rank": -3,
    "max_attempts": 5,
    "created_at": AT,
}

# {revision: {table: rows}}, in an order in which rows refer to earlier ones.
ROWS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "0001": {
        "agents": [
            {"id": AGENT, "name": "one", "hostname": "", "device": "cuda", "created_at": AT, "last_seen_at": AT}
        ],
        "jobs": [{"id": FIT_JOB, "kind": "fit", **_JOB}, {"id": SEARCH_JOB, "kind": "recommendation", **_JOB}],
        "studies": [
            {
                "id": STUDY,
                "name": "Ünïcode; DROP TABLE runs",
                "description": "",
                "objective": {"kl_to_prior": 0.05},
                "constraints": {"max_weights": {"web": 0.9}},
                "created_at": AT,
            }
        ],
        "domain_sets": [
            {
                "id": DOMAINS,
                "study_id": STUDY,
                "version": 1,
                "content_hash": "h" * 64,
                "domains": [
                    {"name": name, "available_tokens": 100, "prior": 0.5, "source": "", "licence": ""}
                    for name in MIXTURE
                ],
                "created_at": AT,
            }
        ],
        "targets": [
            {
                "id": TARGET,
                "study_id": STUDY,
                "position": 0,
                "name": "loss",
                "unit": "bits_per_byte",
                "direction": "minimize",
                "weight": 1.0,
                "family": "",
            }
        ],
        "fits": [
            {
                "id": FIT,
                "job_id": FIT_JOB,
                "study_id": STUDY,
                "domain_set_id": DOMAINS,
                "laws": ["mean"],
                "folds": 5,
                "seed": 0,
                "runs_used": 1,
                "runs_hash": "r" * 64,
                "run_ids": [str(MEASURED)],
                "chosen_law": "mean",
                "reason": "it was asked for",
                "created_at": AT,
            }
        ],
        "law_results": [
            {
                "fit_id": FIT,
                "law": "mean",
                "position": 0,
                "fidelity": {"law": "mean", "targets": []},
                "out_of_fold": {"mean": [[1.5]], "std": [[0.1]]},
                "fitted": None,
            }
        ],
        "recommendations": [
            {
                "id": RECOMMENDATION,
                "job_id": SEARCH_JOB,
                "study_id": STUDY,
                "fit_id": FIT,
                "law": "mean",
                "objective": {"kl_to_prior": 0.05},
                "constraints": {},
                "seed": 0,
                "runs_hash": "r" * 64,
                "stages": [],
                "weights": [
                    {"domain": name, "prior": 0.5, "weight": weight, "max_weight": 1.0, "epochs": None, "capped": False}
                    for name, weight in MIXTURE.items()
                ],
                "predictions": {},
                "solver_status": "optimal",
                "message": "done",
                "created_at": AT,
            }
        ],
        "runs": [
            {
                "id": MEASURED,
                "state": "succeeded",
                "attempt": 2,
                "agent_id": AGENT,
                "progress_tokens": 4096,
                "losses": {"loss": {"value": 1.5, "stderr": 0.1}},
                "realised_weights": MIXTURE,
                "wall_seconds": 1.25,
                "recommendation_id": RECOMMENDATION,
                "arm": "recommended",
                "started_at": AT,
                "finished_at": AT,
                **_RUN,
            },
            {"id": WAITING, "state": "queued", "attempt": 0, "progress_tokens": 0, **_RUN},
        ],
        "measurements": [
            {"run_id": MEASURED, "attempt": 2, "train_tokens": 2048, "losses": {"loss": {"value": 2.0, "stderr": None}}}
        ],
    }
}
_EVENT = {"at": AT, "kind": "study.created", "actor": "service", "data": {}}
ROWS["0002"] = ROWS["0001"] | {
    "events": [{"transaction": 0, "study_id": STUDY, "subject_id": STUDY, **_EVENT}],
    "idempotent_calls": [
        {
            "caller": "service",
            "key": "once",
            "fingerprint": "f" * 64,
            "status": 201,
            "headers": {},
            "body": b"{}",
            "created_at": AT,
        }
    ],
    "api_keys": [{"id": KEY, "name": "reader", "secret_hash": "s" * 64, "scopes": ["read"], "created_at": AT}],
    "logins": [
        {
            "id": LOGIN,
            "kind": "session",
            "token_hash": "t" * 64,
            "key_id": KEY,
            "key_hash": "s" * 64,
            "created_at": AT,
            "expires_at": AT,
        }
    ],
    "imports": [
        {"id": IMPORT, "study_id": STUDY, "format": "jsonl", "source": "runs.jsonl", "report": {}, "created_at": AT}
    ],
    "schedules": [
        {
            "id": SCHEDULE,
            "study_id": STUDY,
            "name": "nightly",
            "kind": "refit",
            "cron": "0 2 * * *",
            "time_zone": "UTC",
            "missed": "once",
            "settings": {},
            "enabled": False,
            "created_at": AT,
        }
    ],
    "firings": [
        {"id": FIRING, "schedule_id": SCHEDULE, "due_at": AT, "cause": "due", "message": "done", "created_at": AT}
    ],
    "bindings": [{"domain_set_id": DOMAINS, "trainer": "megatron", "paths": {"web": ["/w"]}, "options": {}}],
    "run_attempts": [
        {
            "run_id": MEASURED,
            "attempt": 2,
            "agent_id": AGENT,
            "stack_size": 1,
            "started_at": AT,
            "ended_at": AT,
            "outcome": "succeeded",
        }
    ],
}
ROWS["0003"] = ROWS["0002"] | {"runs": [run | {"fidelity": "trained"} for run in ROWS["0002"]["runs"]]}
ROWS["0004"] = ROWS["0003"] | {
    "runs": [run | {"content_key": content_key(Run(**_RUN))} for run in ROWS["0003"]["runs"]],
    "agents": [agent | {"corpus_hashes": ["corpus"]} for agent in ROWS["0003"]["agents"]],
}
ROWS["0005"] = ROWS["0004"] | {"studies": [ROWS["0004"]["studies"][0] | {"spent_cpu_seconds": 1.5}]}
_ADOPTED = {"adopted_recommendation_id": RECOMMENDATION, "adopted_at": AT}
ROWS["0006"] = ROWS["0005"] | {
    "studies": [
        ROWS["0005"]["studies"][0] | _ADOPTED | {"adopted_mixture": "recommended", "adopted_reason": "it was asked for"}
    ]
}
EARLIER = sorted(
    script.revision
    for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()
    if script.revision != head_revision()
)


@pytest.fixture(params=EARLIER)
def revision(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def old(database_url: str, tmp_path: Path, revision: str) -> Settings:
    """A database of an earlier revision with a row in every table."""
    settings = Settings(data_dir=tmp_path, database_url=database_url, api_key=SecretStr(OWNER_KEY))
    _make(settings, revision, ROWS[revision])
    return settings


def _make(settings: Settings, revision: str, filled: dict[str, list[dict[str, Any]]]) -> None:
    database = Database(settings.resolved_database_url)
    with migrating(database) as connection:
        command.upgrade(alembic_config(connection), revision)
        tables = sa.MetaData()
        tables.reflect(connection)
        assert set(tables.tables) == {*filled, "alembic_version"}, "give each table of the revision a row"
        for name, rows in filled.items():
            for row in rows:
                connection.execute(tables.tables[name].insert().values(_as_stored(tables.tables[name], row)))
    database.dispose()


def _as_stored(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    """SQLite has neither identifiers nor zones: there they are text and times without one."""

    def stored(column: sa.Column[Any], value: Any) -> Any:
        if isinstance(value, UUID) and not isinstance(column.type, sa.Uuid):
            return value.hex
        if isinstance(value, datetime) and not getattr(column.type, "timezone", False):
            return value.replace(tzinfo=None)
        return value

    return {name: stored(table.c[name], value) for name, value in row.items()}


def _contents(settings: Settings, tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The columns that were filled, as the database gives them now."""
    database, found = Database(settings.resolved_database_url), {}
    reflected = sa.MetaData()
    with database.engine.connect() as connection:
        reflected.reflect(connection)
        for name, rows in tables.items():
            table = reflected.tables[name]
            keys = [column.name for column in table.primary_key]
            chosen = sa.select(*(table.c[column] for column in sorted({c for row in rows for c in row})))
            ordered = chosen.order_by(*(table.c[key] for key in keys))
            found[name] = [dict(row._mapping) for row in connection.execute(ordered)]
    database.dispose()
    return found


def test_every_row_is_as_it_was(old: Settings, revision: str) -> None:
    before = _contents(old, ROWS[revision])
    assert all(before.values())
    check_version(old)
    assert upgrade(old) == head_revision()
    assert _contents(old, ROWS[revision]) == before


def test_the_tables_are_those_of_the_models(old: Settings) -> None:
    upgrade(old)
    database = Database(old.resolved_database_url)
    assert differences(database) == []
    database.dispose()


def test_what_was_queued_before_can_be_told_again(old: Settings) -> None:
    upgrade(old)
    database = Database(old.resolved_database_url)
    with database.read() as session:
        keys = {run.content_key: content_key(run) for run in session.scalars(sa.select(Run))}
    database.dispose()
    assert None not in keys
    assert list(keys) == list(keys.values())


def test_the_service_reads_what_an_earlier_one_stored(old: Settings, revision: str) -> None:
    upgrade(old)
    with TestClient(create_app(old), base_url=LOCAL, headers=BEARER, raise_server_exceptions=False) as api:
        study = api.get(f"/v1/studies/{STUDY}").json()
        assert study["name"] == "Ünïcode; DROP TABLE runs"
        assert study["constraints"]["max_weights"] == {"web": 0.9}
        assert (study["run_counts"]["succeeded"], study["run_counts"]["queued"]) == (1, 1)
        assert study["adopted_recommendation_id"] == (str(RECOMMENDATION) if revision >= "0006" else None)
        assert (study["targets"][0]["name"], study["targets"][0]["definition"]) == ("loss", "")
        run = api.get(f"/v1/runs/{MEASURED}").json()
        assert (run["weights"], run["losses"]["loss"]["value"], run["model_params"]) == (MIXTURE, 1.5, 10**12)
        assert (run["external_id"], run["created_at"]) == (None, "2026-01-02T03:04:05Z")
        assert run["fidelity"] == "trained"
        points = api.get(f"/v1/runs/{MEASURED}/trajectory").json()["points"]
        assert [point["train_tokens"] for point in points] == [2048]
        fit = api.get(f"/v1/fits/{FIT}").json()
        assert (fit["state"], fit["chosen_law"], fit["fidelity"][0]["law"]) == ("succeeded", "mean", "mean")
        assert fit["points"] is None
        found = api.get(f"/v1/recommendations/{RECOMMENDATION}").json()
        assert {row["domain"]: row["weight"] for row in found["weights"]} == MIXTURE
        assert api.get("/v1/agents").json()["items"][0]["draining"] is False


def test_what_an_earlier_service_queued_can_be_claimed(old: Settings) -> None:
    upgrade(old)
    with TestClient(create_app(old), base_url=LOCAL, headers=BEARER, raise_server_exceptions=False) as api:
        body = {"agent_id": str(AGENT), "max_runs": 5, "corpus_hashes": ["corpus"]}
        claimed = api.post("/v1/runs/claim", json=body).json()["runs"]
        assert [run["run_id"] for run in claimed] == [str(WAITING)]
        queued = {"weights": MIXTURE, "settings": {"corpus_hash": "corpus", "train_tokens": 4096}}
        response = api.post(f"/v1/studies/{STUDY}/runs", json={"runs": [queued]})
        assert response.status_code == 201, response.text


def test_the_way_back_keeps_the_rows_too(old: Settings, revision: str) -> None:
    """No command offers it: a backup is the way back of a user. It helps who works on Mixwright."""
    before = _contents(old, ROWS[revision])
    upgrade(old)
    database = Database(old.resolved_database_url)
    with migrating(database) as connection:
        command.downgrade(alembic_config(connection), revision)
    database.dispose()
    assert _contents(old, ROWS[revision]) == before


def test_a_migration_that_leaves_rows_without_their_parents_is_taken_back(
    settings: Settings, database: Database
) -> None:
    orphan = "INSERT INTO bindings VALUES ('00000000000000000000000000000001', 'x', '{}', '{}')"
    with pytest.raises(IntegrityError), migrating(database) as connection:
        connection.execute(sa.text(orphan))
    with database.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM bindings")).scalar() == 0


def test_hours_of_results_on_cpus_are_taken_out_of_the_gpu_hours(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database_url, api_key=SecretStr(OWNER_KEY))
    measured, waiting = ROWS["0004"]["runs"]
    flops = 6.0 * 10**12 * 4096
    changes = {
        "studies": [ROWS["0004"]["studies"][0] | {"spent_flops": 3 * flops, "spent_gpu_seconds": 3601.25}],
        "runs": [measured | {"result": {"device": "cpu, x86_64, 1 thread"}}, waiting],
        "agents": [ROWS["0004"]["agents"][0] | {"device": "cpu, x86_64, 1 thread"}],
    }
    _make(settings, "0004", ROWS["0004"] | changes)
    upgrade(settings)
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        study = session.scalars(sa.select(Study)).one()
        assert (study.spent_gpu_seconds, study.spent_cpu_seconds) == (3600.0, 1.25)
        assert (study.spent_flops, study.spent_gpu_flops) == (3 * flops, 2 * flops)
        assert session.scalars(sa.select(RunAttempt.processor)).all() == ["cpu"]
    database.dispose()


def test_rules_of_early_stopping_that_never_act_are_gone_and_others_stay(database_url: str, tmp_path: Path) -> None:
    """A claim reads the settings of runs that were queued before."""
    settings = Settings(data_dir=tmp_path, database_url=database_url, api_key=SecretStr(OWNER_KEY))
    acts = ProxySettings.model_validate(
        {"corpus_hash": "corpus", "train_tokens": 4096, "measure_at_tokens": [2048], "early_stopping": {}}
    ).model_dump(mode="json")
    never = acts | {"measure_at_tokens": [4096]}
    measured, waiting = ROWS["0004"]["runs"]
    top_up = {"kind": "top-up", "settings": {"runs": 5, "proxy": never}}
    changes = {
        "runs": [measured | {"settings": acts}, waiting | {"settings": never}],
        "schedules": [ROWS["0004"]["schedules"][0] | top_up],
    }
    _make(settings, "0004", ROWS["0004"] | changes)
    upgrade(settings)
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        found = {run.id: run.settings for run in session.scalars(sa.select(Run))}
        assert found == {MEASURED: acts, WAITING: never | {"early_stopping": None}}
        assert session.scalars(sa.select(Schedule)).one().settings["proxy"] == never | {"early_stopping": None}
    database.dispose()


def test_what_was_adopted_before_were_the_recommended_weights(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database_url, api_key=SecretStr(OWNER_KEY))
    other = ROWS["0005"]["studies"][0] | {"id": UUID(int=99), "name": "nothing adopted"}
    _make(settings, "0005", ROWS["0005"] | {"studies": [ROWS["0005"]["studies"][0] | _ADOPTED, other]})
    upgrade(settings)
    with TestClient(create_app(settings), base_url=LOCAL, headers=BEARER, raise_server_exceptions=False) as api:
        read = api.get(f"/v1/studies/{STUDY}/weights").json()
        assert (read["mixture"], read["weights"]) == ("recommended", MIXTURE)
        assert read["reason"] == "before, the recommended weights were adopted in any case"
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        assert session.get_one(Study, other["id"]).adopted_mixture is None
    database.dispose()


def test_verifications_that_trained_the_mean_of_stages_are_called_so(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database_url, api_key=SecretStr(OWNER_KEY))
    stages = [
        {"from_token": 0, "to_token": 1000, "weights": MIXTURE},
        {"from_token": 1000, "to_token": 4096, "weights": MIXTURE},
    ]
    measured, waiting = ROWS["0005"]["runs"]
    uniform = measured | {"id": UUID(int=98), "arm": "uniform"}
    plan = ROWS["0005"]["recommendations"][0] | {"stages": stages}
    changes = {"recommendations": [plan], "runs": [measured, waiting, uniform]}
    _make(settings, "0005", ROWS["0005"] | changes)
    upgrade(settings)
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        assert {run.id: run.arm for run in session.scalars(sa.select(Run))} == {
            MEASURED: "mean_of_stages",
            WAITING: None,
            uniform["id"]: "uniform",
        }
    database.dispose()
