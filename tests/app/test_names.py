"""Names that would look like others, or like none, are refused at every door; those of all scripts are taken."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.app.study_bodies import SETTINGS, create_study, study_body, weights

# (name, what the sentence says of it)
_WRONG = [
    ("   ", "is blank"),
    (" code", "begins and ends with a character"),
    ("code\n", "begins and ends with a character"),
    ("co\nde", "U+000A"),
    ("co\x1b[31mde", "U+001B"),
    ("co\u202ede", "U+202E"),
    ("co\u200bde", "U+200B"),
]
_GOOD = ["Programmer model", "código/日本語", "данные: веб", "a=b|c", "naïve-ﬁ", "🜁 1"]


@pytest.mark.parametrize(("name", "why"), _WRONG)
def test_a_name_that_cannot_be_shown_is_refused_everywhere(api: TestClient, name: str, why: str) -> None:
    study = create_study(api)
    run = {"weights": weights(0.5, 0.3, 0.2), "settings": SETTINGS, "external_id": name}
    doors = [
        ("name", "/v1/studies", study_body(name=name)),
        ("domains.1.name", "/v1/studies", study_body(domains=[{"name": "code"}, {"name": name}])),
        ("targets.0.name", "/v1/studies", study_body(targets=[{"name": name}])),
        ("name", f"/v1/studies/{study}/targets", {"name": name}),
        ("domains.0.name", f"/v1/studies/{study}/domain-sets", {"domains": [{"name": name}]}),
        ("runs.0.external_id", f"/v1/studies/{study}/runs", {"runs": [run]}),
        ("name", f"/v1/studies/{study}/schedules", {"name": name, "kind": "refit", "cron": "0 1 * * *"}),
        ("name", "/v1/agents", {"name": name}),
        ("name", "/v1/keys", {"name": name, "scopes": ["read"]}),
    ]
    for field, address, body in doors:
        refused = api.post(address, json=body)
        assert refused.status_code == 422, (address, refused.text)
        told = refused.json()
        assert [error["field"] for error in told["errors"]] == [field], address
        assert why in told["detail"], address
    assert api.get("/v1/studies").json()["items"][0]["name"] == study_body()["name"]


@pytest.mark.parametrize("name", _GOOD)
def test_names_of_all_scripts_are_taken(api: TestClient, name: str) -> None:
    made = api.post("/v1/studies", json=study_body(name=name, domains=[{"name": name}, {"name": "b"}]))
    assert made.status_code == 201, made.text
    study = api.get(f"/v1/studies/{made.json()['id']}").json()
    assert study["name"] == name
    assert study["domain_set"]["domains"][0]["name"] == name


def test_a_study_is_not_renamed_to_a_name_that_cannot_be_shown(api: TestClient) -> None:
    study = create_study(api)
    etag = api.get(f"/v1/studies/{study}").headers["ETag"]
    refused = api.patch(f"/v1/studies/{study}", json={"name": "x\n"}, headers={"If-Match": etag})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "name"
