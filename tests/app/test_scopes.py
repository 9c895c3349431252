"""Every call under /v1 asks for one scope; a key without it is refused everywhere, and a bound key sees its study only.

The routes are read from the application. One with an identifier or a body that is not known here fails with a sentence
that says what to add.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient

from app.db import Database
from app.ids import new_id
from app.main import create_app
from app.models import Import
from app.routes.dependencies import Needs
from app.services.studies import find_study
from app.settings import Settings
from benchmarks.stored_recommendations import store_recommendation
from tests.app.conftest import BEARER, LOCAL, StandingClock
from tests.app.study_bodies import CORPUS, create_study, queue_runs, register, result, study_body, weights
from tests.app.test_key_routes import bearer, make

# What a key with one scope may call.
MAY = {"read": {"read"}, "write": {"read", "write"}, "agent": {"agent"}, "admin": {"read", "write", "agent", "admin"}}
ANY_VERSION = {"If-Match": "*"}
# A stream that nobody ends would keep a test waiting: it is refused for its place, after the scope was looked at.
NOWHERE = {"Last-Event-ID": "no place"}
ATTEMPT = {"attempt": 1}
POINT = {"train_tokens": 1024, "losses": {"code": {"value": 2.0}}}
# For each call with a body that names something by its path: a body that is accepted.
BODIES: dict[str, Any] = {
    "PATCH /v1/agents/{agent_id}": {"draining": True},
    "POST /v1/agents/{agent_id}/heartbeat": {"runs": [], "lease_seconds": 30},
    "POST /v1/runs/{run_id}/measurements": ATTEMPT | {"point": POINT},
    "POST /v1/runs/{run_id}/complete": ATTEMPT | {"result": result()},
    "POST /v1/runs/{run_id}/fail": ATTEMPT | {"reason": "broke"},
    "POST /v1/runs/{run_id}/release": ATTEMPT,
    "PATCH /v1/runs/{run_id}": {"label": "x"},
    "PATCH /v1/studies/{study_id}": {"description": "x"},
    "POST /v1/studies/{study_id}/suggestions": {"count": 1, "design": "dirichlet"},
    "POST /v1/studies/{study_id}/domain-sets": {"domains": study_body()["domains"]},
    "PUT /v1/domain-sets/{domain_set_id}/bindings/{trainer}": {"paths": {"web": ["/w"]}},
    "POST /v1/studies/{study_id}/targets": {"name": "math"},
    "PATCH /v1/studies/{study_id}/targets/{name:path}": {"weight": 2},
    "POST /v1/studies/{study_id}/runs": {
        "runs": [{"weights": weights(0.5, 0.3, 0.2), "losses": {"code": 1, "web": 1}}]
    },
    "POST /v1/studies/{study_id}/runs/cancel": {},
    "POST /v1/studies/{study_id}/fits": {"laws": ["mean"]},
    "POST /v1/studies/{study_id}/recommendations": {"fit_id": str(uuid4())},
    "POST /v1/fits/{fit_id}/predictions": {"weights": [weights(0.5, 0.3, 0.2)]},
    "POST /v1/recommendations/{recommendation_id}/verifications": {
        "settings": {"corpus_hash": CORPUS, "train_tokens": 4096},
        "seeds": [1, 2],
    },
    "POST /v1/studies/{study_id}/imports": {"format": "wandb", "options": {}},
    "POST /v1/studies/{study_id}/schedules": {"name": "s", "kind": "refit", "cron": "0 2 * * *"},
    "PATCH /v1/schedules/{schedule_id}": {"name": "x"},
    "PATCH /v1/keys/{key_id}": {"name": "x"},
}


@dataclass(frozen=True)
class Call:
    """A method and a path with names in braces, and the scope that it asks for."""

    method: str
    path: str
    scope: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def names(self) -> list[str]:
        return re.findall(r"{(\w+)(?::path)?}", self.path)

    def make(self, api: TestClient, key: dict[str, str], values: dict[str, str]) -> int:
        path = re.sub(r"{(\w+)(?::path)?}", lambda found: values[found.group(1)], self.path)
        headers = key | ANY_VERSION | ({} if self.names() else NOWHERE)
        return api.request(self.method, path, json=BODIES.get(str(self)), headers=headers).status_code


def needs_of(route: APIRoute) -> list[str]:
    return [each.dependency.scope.value for each in route.dependencies if isinstance(each.dependency, Needs)]


@pytest.fixture
def app_calls(api: TestClient) -> list[Call]:
    """Every call of the API. Its description is for whoever has any key."""
    found = []
    for context in iter_route_contexts(api.app.routes):  # type: ignore[attr-defined]
        path = context.path or ""
        if path.startswith("/v1") and path != "/v1/openapi.json":
            (scope,) = needs_of(context)  # type: ignore[arg-type]
            found += [Call(method, path, scope) for method in sorted(context.methods or ())]
    return found


@pytest.fixture
def api(settings: Settings, clock: StandingClock) -> Iterator[TestClient]:
    """As for all tests, but many wrong keys may be tried."""
    patient = settings.model_copy(update={"failed_login_limit": "1000000/second"})
    with TestClient(create_app(patient, clock), base_url=LOCAL, headers=BEARER) as client:
        yield client


def test_every_route_of_the_api_names_one_scope(api: TestClient) -> None:
    seen = 0
    for context in iter_route_contexts(api.app.routes):  # type: ignore[attr-defined]
        path = context.path or ""
        if path.startswith("/v1") and path != "/v1/openapi.json":
            seen += 1
            assert len(needs_of(context)) == 1, f"{path} must have READ, WRITE, AGENT or ADMIN as its dependencies"  # type: ignore[arg-type]
    assert seen > 60


def test_a_key_is_refused_where_it_lacks_the_scope_and_nowhere_else(api: TestClient, app_calls: list[Call]) -> None:
    keys = {scope: bearer(make(api, scope)) for scope in MAY}
    for call in app_calls:
        nothing = {name: str(uuid4()) for name in call.names()}
        for scope, key in keys.items():
            status = call.make(api, key, nothing)
            assert (status == 403) == (call.scope not in MAY[scope]), f"{call} with a key for {scope}: {status}"
            assert status not in (401, 429), f"{call}: {status}"
            assert status < 500, f"{call}: {status}"


def test_a_key_that_ended_or_never_was_is_refused_everywhere(
    api: TestClient, app_calls: list[Call], clock: StandingClock
) -> None:
    revoked, expired = make(api, "admin"), make(api, "admin", expires_at=(clock.now + timedelta(seconds=1)).isoformat())
    clock.advance(1)
    assert api.post(f"/v1/keys/{revoked['id']}/revoke").status_code == 200
    garbage = {"Authorization": "Bearer mw_garbage"}
    for call in app_calls:
        nothing = {name: str(uuid4()) for name in call.names()}
        for key in (bearer(revoked), bearer(expired), garbage):
            assert call.make(api, key, nothing) == 401, call


@pytest.fixture
def foreign(api: TestClient, database: Database, clock: StandingClock) -> dict[str, str]:
    """By the name that paths give it, an identifier of everything in another study."""
    study = create_study(api, name="foreign")
    runs = queue_runs(api, study, 2)
    now, study_id = clock(), UUID(study)
    with database.write() as session:
        found = find_study(session, study_id)
        recommendation = str(store_recommendation(session, found, weights(0.2, 0.3, 0.5), now))
        imported = Import(id=new_id(now), study_id=study_id, format="wandb", source="", report={}, created_at=now)
        session.add(imported)
        session.commit()
    schedule = api.post(f"/v1/studies/{study}/schedules", json=BODIES["POST /v1/studies/{study_id}/schedules"])
    assert schedule.status_code == 201, schedule.text
    return {
        "study_id": study,
        "domain_set_id": api.get(f"/v1/studies/{study}").json()["domain_set"]["id"],
        "run_id": runs[0]["id"],
        "recommendation_id": recommendation,
        "fit_id": api.get(f"/v1/recommendations/{recommendation}").json()["fit_id"],
        "import_id": str(imported.id),
        "schedule_id": schedule.json()["id"],
        "key_id": make(api, "read", study_id=study)["id"],
        "agent_id": register(api),
        "trainer": "megatron",
        "name": "code",
        "format_name": "megatron",
    }


def test_a_bound_key_finds_nothing_of_another_study(
    api: TestClient, app_calls: list[Call], foreign: dict[str, str]
) -> None:
    bound = bearer(make(api, "admin", study_id=create_study(api, name="own")))
    before = [api.get(f"/v1/studies/{foreign['study_id']}").json(), api.get(f"/v1/runs/{foreign['run_id']}").json()]
    tried = [call for call in app_calls if call.names()]
    assert len(tried) > 50
    unknown = {name for call in tried for name in call.names()} - set(foreign)
    assert not unknown, "add one to the fixture 'foreign'"
    found = {str(call): call.make(api, bound, foreign) for call in tried}
    assert not [call for call, status in found.items() if status == 422], "add a body that is accepted to BODIES"
    assert not {call: status for call, status in found.items() if status != 404}
    after = [api.get(f"/v1/studies/{foreign['study_id']}").json(), api.get(f"/v1/runs/{foreign['run_id']}").json()]
    assert after == before


def test_lists_show_a_bound_key_its_own_study_only(
    api: TestClient, app_calls: list[Call], foreign: dict[str, str]
) -> None:
    own = create_study(api, name="own")
    bound = bearer(make(api, "admin", study_id=own))
    lists = [call for call in app_calls if call.method == "GET" and not call.names() and "stream" not in call.path]
    assert len(lists) > 4
    hidden = {value for name, value in foreign.items() if name.endswith("_id")}
    for call in lists:
        answer = api.get(call.path, headers=bound)
        assert answer.status_code == 200, call
        assert not [value for value in hidden if value in answer.text], call
    assert [study["id"] for study in api.get("/v1/studies", headers=bound).json()["items"]] == [own]
