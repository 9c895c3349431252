"""A parameter that a call does not take is refused, on every listing and by one rule; dates are named as dates."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient

from tests.app.study_bodies import create_study, study_body


def _listings(api: TestClient) -> list[str]:
    """The addresses of all pages that need no more than a study."""
    found = set()
    for each in iter_route_contexts(api.app.routes):  # type: ignore[attr-defined]
        path = each.path or ""
        alone = path.startswith("/v1/") and "{" not in path.replace("{study_id}", "")
        if alone and "GET" in (each.methods or ()) and "Page[" in _answer(each.route):
            found.add(path)
    return sorted(found)


def _answer(route: object) -> str:
    return str(route.response_model) if isinstance(route, APIRoute) else ""


def test_every_listing_refuses_a_filter_that_it_does_not_know(api: TestClient) -> None:
    study = create_study(api)
    paths = _listings(api)
    assert {"/v1/studies", "/v1/keys", "/v1/exports", "/v1/studies/{study_id}/runs"} <= set(paths)
    for path in paths:
        address = path.format(study_id=study)
        assert api.get(address).status_code == 200, path
        refused = api.get(address, params={"nope": "1"})
        assert refused.status_code == 422, path
        assert refused.json()["errors"][0]["field"] == "nope", path


def test_the_refusal_names_what_would_be_accepted(api: TestClient) -> None:
    told = api.get("/v1/studies", params={"nmae": "x"}).json()
    assert told["detail"] == "nmae: is no parameter of this call; accepted: one of name, limit, cursor"
    # The address names the study already; another one in the query would be overlooked.
    study = create_study(api)
    assert api.get(f"/v1/studies/{study}/targets", params={"study_id": "x"}).status_code == 422


def test_a_change_does_not_overlook_what_belongs_into_its_body(api: TestClient) -> None:
    refused = api.post("/v1/studies", params={"dry_run": "true"}, json=study_body())
    assert refused.status_code == 422
    assert "accepted: no parameters" in refused.json()["detail"]
    assert api.get("/v1/studies").json()["items"] == []


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z"])
def test_a_time_out_of_reach_is_refused_in_plain_words(api: TestClient, at: str) -> None:
    refused = api.post("/v1/keys", json={"name": "k", "scopes": ["read"], "expires_at": at})
    assert refused.status_code == 422
    assert refused.json()["detail"] == "expires_at: must be a time from 1970-01-01 to 9999-12-31"
