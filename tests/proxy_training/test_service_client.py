"""The calls of an agent: which answers are worth another try, which are final, and what is never shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from proxy_training.errors import LeaseLost, Refused, ServiceError, Unreachable
from proxy_training.service_client import ServiceClient
from tests.proxy_training.fake_service import FakeService
from tests.proxy_training.training_cases import made_up_run


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService([made_up_run()], api_key="secret")
    fake.start()
    yield fake
    fake.stop()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_answers_of_a_troubled_server_are_worth_another_try(status: int, service: FakeService) -> None:
    service.answer_next["register"] = [status]
    with ServiceClient(service.url, "secret") as client:
        with pytest.raises(Unreachable, match=str(status)):
            client.register("a", "b", "c")
        assert client.register("a", "b", "c") == "agent-1"


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_refusal_carries_its_status_and_sentence(status: int, service: FakeService) -> None:
    service.answer_next["register"] = [status]
    with ServiceClient(service.url, "secret") as client, pytest.raises(Refused, match="told to by the test") as refusal:
        client.register("a", "b", "c")
    assert refusal.value.status == status
    assert not isinstance(refusal.value, LeaseLost)


def test_a_conflict_means_that_the_lease_is_lost(service: FakeService) -> None:
    with ServiceClient(service.url, "secret") as client:
        (run,) = client.claim(client.register("a", "b", "c"), 1, ["corpus"], 30)
        service.take_away(run.run_id)
        with pytest.raises(LeaseLost):
            client.release(run.run_id, run.attempt)


def test_a_claim_gives_specs_back_as_they_were_queued(service: FakeService) -> None:
    with ServiceClient(service.url, "secret") as client:
        agent_id = client.register("a", "b", "c")
        assert client.claim(agent_id, 1, ["another corpus"], 30) == []
        (run,) = client.claim(agent_id, 1, ["corpus"], 30)
    assert run.spec == made_up_run()
    assert run.attempt == 1


def test_a_server_that_is_not_there_is_named() -> None:
    with ServiceClient("http://127.0.0.1:9") as client, pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9"):
        client.register("a", "b", "c")


def test_an_answer_that_is_not_the_service_s_is_said_so(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_register", lambda _, body: body)
    with ServiceClient(service.url, "secret") as client, pytest.raises(ServiceError, match=r"this version.*id"):
        client.register("a", "b", "c")


@pytest.mark.parametrize("address", ["localhost:8321", "ftp://host", "http://", "", "http://[::1"])
def test_an_address_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(ServiceError, match="write http://host:port"):
        ServiceClient(address)


def test_the_key_is_in_no_message_and_no_log(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ServiceClient(service.url, "hunter2") as client, pytest.raises(Refused) as refusal:
        client.register("a", "b", "c")
    assert refusal.value.status == 401
    assert str(refusal.value).endswith(
        "does not know the key; put one of scope agent into MIXWRIGHT_API_KEY, or name its file"
    )
    assert "hunter2" not in str(refusal.value) + repr(client) + caplog.text
