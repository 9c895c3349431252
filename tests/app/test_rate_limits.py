"""Too many calls are told to wait; a wrong key can be tried a few times only."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.app.conftest import BEARER, LOCAL
from tests.app.test_key_routes import bearer, make


def _client(settings: Settings, **limits: str) -> TestClient:
    return TestClient(create_app(settings.model_copy(update=limits)), base_url=LOCAL, follow_redirects=False)


@pytest.fixture(params=["sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    """The counts are in memory; one database will do."""
    return request.param


def test_a_key_that_calls_too_often_is_told_to_wait_and_others_are_not(settings: Settings) -> None:
    with _client(settings, rate_limit="20/hour") as api:
        hasty, calm = (bearer(make(api, "read", headers=BEARER)) for _ in range(2))
        answers = [api.get("/v1/studies", headers=hasty) for _ in range(21)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429]
        refused = answers[-1]
        assert refused.headers["content-type"] == "application/problem+json"
        assert 1 <= int(refused.headers["retry-after"]) <= 3600
        assert "20 times in 3600 s" in refused.json()["detail"]
        assert api.get("/v1/studies", headers=calm).status_code == 200
        assert api.get("/healthz", headers=hasty).status_code == 200


def test_wrong_keys_are_tried_twenty_times_a_minute_at_most(settings: Settings) -> None:
    with _client(settings, failed_login_limit="20/hour") as api:
        made = make(api, "read", headers=BEARER)
        statuses = [api.get("/v1/studies", headers={"Authorization": f"Bearer {i}"}).status_code for i in range(21)]
        assert statuses == [401] * 20 + [429]
        guessed = api.get("/v1/studies", headers=BEARER)
        assert guessed.status_code == 429, "the key of the settings could be a weak one, so no more guesses at it"
        assert "retry-after" in guessed.headers
        assert api.get("/v1/studies", headers=bearer(made)).status_code == 200, "no one guesses 256 bits"
        assert api.get("/v1/studies").status_code == 401, "no key is no guess"


def test_a_login_is_tried_twenty_times_a_minute_at_most(settings: Settings) -> None:
    with _client(settings, failed_login_limit="5/hour") as api:
        statuses = [api.post("/login", data={"key": str(i)}).status_code for i in range(6)]
        assert statuses == [401] * 5 + [429]
        refused = api.post("/login/x")
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)


def test_a_machine_does_not_guess_on_from_its_other_addresses(settings: Settings) -> None:
    def statuses(*addresses: str) -> list[int]:
        app = create_app(settings.model_copy(update={"failed_login_limit": "2/hour"}))
        clients = [TestClient(app, base_url=LOCAL, client=(address, 50_000)) for address in addresses]
        return [client.post("/login", data={"key": "a guess"}).status_code for client in clients]

    assert statuses("2001:db8::1", "2001:db8::2:1", "2001:db8::ffff:ffff:ffff:ffff") == [401, 401, 429]
    assert statuses("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1") == [401] * 3
    assert statuses("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1") == [401, 401, 429]
    assert statuses("::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.3") == [401] * 3


def test_the_defaults_are_those_of_the_manual() -> None:
    assert (Settings().rate_limit, Settings().failed_login_limit) == ("600/second", "20/minute")


@pytest.mark.parametrize("wrong", ["many", "0/second", "", "5"])
def test_a_limit_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="a number and a time"):
        Settings(rate_limit=wrong)
