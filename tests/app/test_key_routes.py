"""Keys over the API: shown once, bound, expiring, revoked at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app import credentials
from app.db import Database
from app.key_text import hash_of, read_key
from app.main import create_app
from app.models import ApiKey, Event, IdempotentCall
from app.settings import Settings
from tests.app.conftest import BEARER, LOCAL, StandingClock
from tests.app.study_bodies import create_study

Caller = Callable[[str], dict[str, str]]


def make(api: TestClient, *scopes: str, headers: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    body = {"name": "a key", "scopes": list(scopes)} | changes
    response = api.post("/v1/keys", json=body, headers=headers or {})
    assert response.status_code == 201, response.text
    return response.json()


def bearer(key: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {key['key']}"}


def status(api: TestClient, key: dict[str, Any]) -> int:
    return api.get("/v1/studies", headers=bearer(key)).status_code


def kinds(database: Database) -> list[str]:
    with database.read() as session:
        return [event.kind for event in session.scalars(select(Event).order_by(Event.seq))]


def test_a_key_is_shown_once_and_stored_as_a_hash(api: TestClient, database: Database) -> None:
    made = make(api, "read", "write", "read")
    read = read_key(made["key"])
    assert read is not None
    key_id, secret = read
    assert (str(key_id), made["scopes"]) == (made["id"], ["read", "write"])
    assert len(secret) == 43
    with database.read() as session:
        row = session.get_one(ApiKey, key_id)
    assert row.secret_hash == hash_of(secret)
    assert secret not in str(vars(row))
    assert status(api, made) == 200
    for answer in (api.get("/v1/keys"), api.get(f"/v1/keys/{made['id']}")):
        assert answer.status_code == 200
        assert secret not in answer.text
        assert row.secret_hash not in answer.text
    assert kinds(database) == ["key.created"]


def test_a_repeated_creation_answers_without_the_key_and_stores_it_nowhere(api: TestClient, database: Database) -> None:
    import zlib

    header = {"Idempotency-Key": "make-one"}
    first = make(api, "read", headers=header)
    again = api.post("/v1/keys", json={"name": "a key", "scopes": ["read"]}, headers=header)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json() == first | {"key": None}
    with database.read() as session:
        (stored,) = session.scalars(select(IdempotentCall))
    assert first["key"].rpartition("_")[2].encode() not in zlib.decompress(stored.body)
    assert len(api.get("/v1/keys").json()["items"]) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"name": ""}, "name"),
        ({"expires_at": "2025-12-31T23:59:59Z"}, "expires_at"),
        ({"expires_at": "2026-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"study_id": str(uuid4())}, "study_id"),
        ({"key": "mine"}, "key"),
    ],
)
def test_a_wrong_key_is_not_made(api: TestClient, changes: dict[str, Any], field: str) -> None:
    refused = api.post("/v1/keys", json={"name": "a", "scopes": ["read"]} | changes)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field
    assert api.get("/v1/keys").json()["items"] == []


@pytest.mark.parametrize("scope", ["read", "write", "agent"])
def test_only_an_admin_makes_keys(api: TestClient, scope: str) -> None:
    lesser = bearer(make(api, scope))
    refused = api.post("/v1/keys", json={"name": "mine", "scopes": ["admin"]}, headers=lesser)
    assert refused.status_code == 403
    assert f"this key has {scope}" in refused.json()["detail"]


def test_a_key_expires(api: TestClient, clock: StandingClock) -> None:
    made = make(api, "read", expires_at=(clock.now + timedelta(minutes=5)).isoformat())
    assert status(api, made) == 200
    clock.advance(299)
    assert status(api, made) == 200
    clock.advance(1)
    assert status(api, made) == 401


def test_a_revoked_key_is_refused_at_once_and_for_good(api: TestClient, database: Database) -> None:
    made = make(api, "read")
    assert status(api, made) == 200
    path = f"/v1/keys/{made['id']}"
    revoked = api.post(f"{path}/revoke").json()
    assert revoked["revoked_at"] is not None
    assert status(api, made) == 401
    assert api.post(f"{path}/revoke").json() == revoked | {"last_used_at": api.get(path).json()["last_used_at"]}
    change = api.patch(path, json={"expires_at": None}, headers={"If-Match": "*"})
    assert change.status_code == 409
    assert kinds(database) == ["key.created", "key.revoked"]


def test_revoking_under_an_idempotency_key_is_effective_at_once_too(api: TestClient) -> None:
    """There the change is committed after the route has answered."""
    made = make(api, "read")
    assert status(api, made) == 200
    api.post(f"/v1/keys/{made['id']}/revoke", headers={"Idempotency-Key": "end"})
    assert status(api, made) == 401


def test_another_replica_notices_a_revocation_within_two_seconds(
    api: TestClient, settings: Settings, clock: StandingClock
) -> None:
    made = make(api, "read")
    with TestClient(create_app(settings, clock), base_url=LOCAL) as other:
        assert status(other, made) == 200
        api.post(f"/v1/keys/{made['id']}/revoke")
        time.sleep(credentials.BELIEVED_SECONDS + 0.05)
        assert status(other, made) == 401
    assert credentials.BELIEVED_SECONDS <= 2


def test_a_name_and_an_expiry_change_with_if_match(api: TestClient, database: Database, clock: StandingClock) -> None:
    made = make(api, "read")
    path = f"/v1/keys/{made['id']}"
    tag = api.get(path).headers["etag"]
    assert api.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert api.patch(path, json={"name": "b"}).status_code == 428
    soon = clock.now + timedelta(seconds=60)
    changed = api.patch(path, json={"name": "b", "expires_at": soon.isoformat()}, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert changed.json()["name"] == "b"
    assert api.patch(path, json={"name": "c"}, headers={"If-Match": tag}).status_code == 412
    past = {"expires_at": clock.now.isoformat()}
    assert api.patch(path, json=past, headers={"If-Match": changed.headers["etag"]}).status_code == 422
    clock.advance(60)
    assert status(api, made) == 401
    forever = api.patch(path, json={"expires_at": None}, headers={"If-Match": changed.headers["etag"]})
    assert (forever.json()["name"], forever.json()["expires_at"]) == ("b", None)
    assert status(api, made) == 200
    assert kinds(database) == ["key.created", "key.updated", "key.updated"]


def test_keys_are_listed_in_pages_newest_first(api: TestClient, clock: StandingClock) -> None:
    names = []
    for i in range(5):
        clock.advance(1)
        names.append(make(api, "read", name=f"key {i}")["name"])
    seen, cursor = [], None
    while True:
        page = api.get("/v1/keys", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == names[::-1]


def test_a_bound_admin_rules_over_its_study_only(api: TestClient) -> None:
    study, other = create_study(api), create_study(api)
    foreign = [make(api, "read"), make(api, "read", study_id=other)]
    bound = make(api, "admin", study_id=study)
    caller = bearer(bound)
    unbound = api.post("/v1/keys", json={"name": "out", "scopes": ["read"]}, headers=caller)
    assert unbound.status_code == 403
    elsewhere = api.post("/v1/keys", json={"name": "out", "scopes": ["read"], "study_id": other}, headers=caller)
    assert elsewhere.status_code == 422
    assert f"there is no study {other}" in elsewhere.json()["detail"]
    inside = make(api, "write", study_id=study, headers=caller)
    listed = {item["id"] for item in api.get("/v1/keys", headers=caller).json()["items"]}
    assert listed == {bound["id"], inside["id"]}
    for key in foreign:
        path = f"/v1/keys/{key['id']}"
        assert api.get(path, headers=caller).status_code == 404
        assert api.post(f"{path}/revoke", headers=caller).status_code == 404
        assert api.patch(path, json={"name": "x"}, headers=caller | {"If-Match": "*"}).status_code == 404
        assert status(api, key) == 200
    assert api.post(f"/v1/keys/{inside['id']}/revoke", headers=caller).status_code == 200


def test_the_last_use_is_noted_at_most_once_a_minute(
    settings: Settings, database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "BELIEVED_SECONDS", 0.0)  # every call is a look-up

    def noted_after(seconds: float) -> object:
        clock.advance(seconds)
        with TestClient(create_app(settings, clock), base_url=LOCAL) as replica:
            assert [status(replica, made) for _ in range(3)] == [200] * 3
        with database.read() as session:  # the application has been closed, and has written
            return session.get_one(ApiKey, UUID(made["id"])).last_used_at

    with TestClient(create_app(settings, clock), base_url=LOCAL, headers=BEARER) as api:
        made = make(api, "read")
    first = noted_after(0)
    assert first == clock.now
    assert noted_after(59) == first
    assert noted_after(1) == clock.now


def test_two_hundred_calls_cost_few_look_ups(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    find = credentials.holder_of_key
    monkeypatch.setattr(credentials, "holder_of_key", lambda *given: (looked_up.append("one"), find(*given))[1])
    monkeypatch.setattr(credentials, "BELIEVED_SECONDS", 60.0)
    made = make(api, "read")
    assert {status(api, made) for _ in range(200)} == {200}
    # And one for each call with the key of the settings? That one is compared in memory.
    assert len(looked_up) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key[:-1],
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: f"{key}A",
        lambda key: key.replace("mw_", "mw-"),
        lambda key: f"mw_{uuid4().hex}_{key.rpartition('_')[2]}",
        lambda key: key.upper(),
    ],
)
def test_a_key_that_is_off_by_a_letter_is_refused(api: TestClient, spoil: Callable[[str], str]) -> None:
    made = make(api, "read")
    refused = api.get("/v1/studies", headers={"Authorization": f"Bearer {spoil(made['key'])}"})
    assert refused.status_code == 401
    assert made["key"][-43:] not in refused.text
