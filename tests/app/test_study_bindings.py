"""Bindings say where a trainer finds the domains; a change names the version that it changes."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.db import Database
from app.formats.exports import EXPORTS
from app.models import Event
from tests.app.study_bodies import create_study, study_body

PATHS = {"code": ["/data/code_text_document"], "web": ["s3://b/web/**/*.npy", "/data/web 2"]}
ABSENT = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def bindings(api: TestClient) -> str:
    """The address of the bindings of a study's domain set."""
    return f"/v1/domain-sets/{api.get(f'/v1/studies/{create_study(api)}').json()['domain_set']['id']}/bindings"


def body(**paths: list[str]) -> dict[str, Any]:
    return {"paths": paths or PATHS, "options": {"seq_length": 4096, "ratio": 0.5, "pack": True, "split": "99,1,0"}}


def test_a_binding_comes_back_as_it_was_put(api: TestClient, bindings: str) -> None:
    made = api.put(f"{bindings}/megatron", json=body())
    assert made.status_code == 201, made.text
    read = api.get(f"{bindings}/megatron")
    assert read.json() == made.json()
    assert {name: read.json()[name] for name in ("paths", "options")} == body()
    assert read.json()["options"]["pack"] is True
    assert read.headers["etag"] == made.headers["etag"]
    assert api.get(f"{bindings}/megatron", headers={"If-None-Match": read.headers["etag"]}).status_code == 304


def test_only_who_has_read_it_may_change_it(api: TestClient, bindings: str) -> None:
    url = f"{bindings}/megatron"
    first = api.put(url, json=body(), headers={"If-None-Match": "*"})
    assert first.status_code == 201
    assert api.put(url, json=body(), headers={"If-None-Match": "*"}).status_code == 412
    assert api.put(url, json=body()).status_code == 428
    changed = api.put(url, json=body(web=["/w"]), headers={"If-Match": first.headers["etag"]})
    assert (changed.status_code, changed.json()["paths"]) == (200, {"web": ["/w"]})
    assert api.put(url, json=body(), headers={"If-Match": first.headers["etag"]}).status_code == 412
    assert api.get(url).json()["paths"] == {"web": ["/w"]}


def test_a_version_of_what_is_not_there_is_refused(api: TestClient, bindings: str) -> None:
    assert api.put(f"{bindings}/megatron", json=body(), headers={"If-Match": '"abc"'}).status_code == 412
    assert api.get(f"{bindings}/megatron").status_code == 404


def test_a_binding_can_be_deleted_by_who_has_read_it(api: TestClient, bindings: str, database: Database) -> None:
    url = f"{bindings}/megatron"
    etag = api.put(url, json=body()).headers["etag"]
    assert api.delete(url).status_code == 428
    assert api.delete(url, headers={"If-Match": '"abc"'}).status_code == 412
    gone = api.delete(url, headers={"If-Match": etag})
    assert (gone.status_code, gone.content) == (204, b"")
    assert api.delete(url, headers={"If-Match": etag}).status_code == 404
    with database.read() as session:
        kinds = session.scalars(select(Event.kind).where(Event.kind.startswith("binding")).order_by(Event.seq)).all()
    assert kinds == ["binding.created", "binding.deleted"]


def test_bindings_are_listed_by_trainer_page_by_page(api: TestClient, bindings: str) -> None:
    for trainer in ("c", "a", "b"):
        api.put(f"{bindings}/{trainer}", json=body())
    first = api.get(bindings, params={"limit": 2}).json()
    rest = api.get(bindings, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [row["trainer"] for row in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None


def test_an_unknown_domain_names_the_known_ones(api: TestClient, bindings: str) -> None:
    refusal = api.put(f"{bindings}/megatron", json=body(cod=["/x"]))
    assert refusal.status_code == 422
    assert refusal.json()["errors"][0] == {
        "field": "paths.cod", "message": "no such domain", "accepted": "code, law, web",
    }  # fmt: skip


@pytest.mark.parametrize("trainer", ["Megatron", "a_b", "a" * 51, "a b"])
def test_a_trainer_has_a_plain_name(api: TestClient, bindings: str, trainer: str) -> None:
    assert api.put(f"{bindings}/{trainer}", json=body()).status_code == 422


@pytest.mark.parametrize("wrong", [{"paths": {"code": []}}, {"paths": {"code": [""]}}, {"options": {"a": [1]}}])
def test_an_empty_path_and_a_nested_option_are_refused(api: TestClient, bindings: str, wrong: dict[str, Any]) -> None:
    assert api.put(f"{bindings}/megatron", json=body() | wrong).status_code == 422


def test_every_export_format_has_a_trainer_that_can_be_bound(api: TestClient, bindings: str) -> None:
    trainers = {each.trainer for each in EXPORTS.values() if each.trainer}
    assert trainers
    for trainer in trainers:
        assert api.put(f"{bindings}/{trainer}", json=body()).status_code == 201


def test_a_new_version_of_the_domains_takes_the_bindings_along(api: TestClient) -> None:
    study = create_study(api)
    first = api.get(f"/v1/studies/{study}").json()["domain_set"]["id"]
    api.put(f"/v1/domain-sets/{first}/bindings/megatron", json=body())
    domains = [study_body()["domains"][0] | {"name": "programs"}, {"name": "books", "available_tokens": 9}]
    answer = api.post(f"/v1/studies/{study}/domain-sets", json={"domains": domains, "renames": {"code": "programs"}})
    assert answer.status_code == 201, answer.text
    carried = api.get(f"/v1/domain-sets/{answer.json()['id']}/bindings/megatron").json()
    assert carried["paths"] == {"programs": PATHS["code"]}
    assert carried["options"] == body()["options"]
    assert api.get(f"/v1/domain-sets/{first}/bindings/megatron").json()["paths"] == PATHS


def test_a_domain_set_that_is_not_there_has_no_bindings(api: TestClient) -> None:
    url = f"/v1/domain-sets/{ABSENT}/bindings"
    assert [api.get(url).status_code, api.put(f"{url}/megatron", json=body()).status_code] == [404, 404]
