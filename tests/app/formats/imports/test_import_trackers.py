"""Asking MLflow: pages, states, and everything that an address of a caller must not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.formats.imports import trackers as tracker_module
from app.formats.imports.trackers import TrackerFailed, Trackers
from app.origins import origin_of
from mixers.errors import InvalidInput
from tests.app.formats.imports.readings import read, reasons, runs

URL = "https://mlflow.example.org/team"


def mlflow_run(key: str, status: str = "FINISHED") -> dict[str, Any]:
    return {
        "info": {"run_id": key, "run_name": f"name of {key}", "status": status},
        "data": {
            "metrics": [{"key": "val_loss", "value": 2.5, "timestamp": 1, "step": 9}, {"key": "acc", "value": "NaN"}],
            "params": [
                {"key": "w.web", "value": "0.6"},
                {"key": "w.code", "value": "0.4"},
                {"key": "N", "value": "1e7"},
            ],
        },
    }


def asked(answer: Callable[[httpx.Request], httpx.Response], **changes: Any) -> Trackers:
    given: dict[str, Any] = {"allowed": ("mlflow.example.org",), "mlflow_token": "secret"} | changes
    return Trackers(**given, transport=httpx.MockTransport(answer))


def search(tmp_path: Path, trackers: Trackers, url: str = URL, **options: Any) -> Any:
    options = {"weights_prefix": "w.", "model_params_key": "N", "experiment_ids": ["1"]} | options
    return read("mlflow", tmp_path, {}, trackers, url=url, **options)


def test_all_pages_are_read_and_only_finished_runs_taken(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url == f"{URL}/api/2.0/mlflow/runs/search"
        assert request.headers["authorization"] == "Bearer secret"
        seen.append(json.loads(request.content))
        if "page_token" not in seen[-1]:
            return httpx.Response(
                200, json={"runs": [mlflow_run("a"), mlflow_run("b", "FAILED")], "next_page_token": "2"}
            )
        return httpx.Response(200, json={"runs": [mlflow_run("c"), mlflow_run("d", "RUNNING")]})

    trackers = asked(answer)
    records = list(search(tmp_path, trackers, filter="tags.x = '1'").runs)
    assert reasons(records) == {"b": ("not_finished", "failed"), "d": ("not_finished", "running")}
    assert [body.get("page_token") for body in seen] == [None, "2"]
    assert seen[0]["filter"] == "tags.x = '1'"
    found = runs(search(tmp_path, trackers))
    assert set(found) == {"a", "c"}
    assert (found["a"].weights, found["a"].model_params) == ({"web": 0.6, "code": 0.4}, 1e7)
    assert found["a"].values["val_loss"] == 2.5
    assert found["a"].label == "name of a"


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.org",
        "http://mlflow.example.org",  # plain, where https is listed
        "https://mlflow.example.org:8443",
        "https://mlflow.example.org@other.example.org",
        "https://mlflow.example.org.other.org",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "mlflow.example.org",
        "https://[::1",
        "https://mlflow.example.org?x=1",
        "https://mlflow.exa\tmple.org",  # the same host to a reader that drops the tab
        "https://mlflow.example.org/\x01",
        " https://mlflow.example.org",
    ],
)
def test_addresses_that_are_not_listed_are_never_asked(tmp_path: Path, url: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.url} was asked")

    with pytest.raises(InvalidInput, match=r"options\.url"):
        search(tmp_path, asked(answer), url)


def test_a_listed_plain_address_with_a_port_is_asked(tmp_path: Path) -> None:
    trackers = asked(lambda _: httpx.Response(200, json={"runs": []}), allowed=("http://10.0.0.5:5000",))
    assert list(search(tmp_path, trackers, "http://10.0.0.5:5000/").runs) == []


def test_redirects_are_not_followed(tmp_path: Path) -> None:
    moved = asked(lambda _: httpx.Response(302, headers={"location": "http://169.254.169.254/"}))
    with pytest.raises(TrackerFailed, match=r"mlflow\.example\.org answered 302"):
        search(tmp_path, moved)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (httpx.Response(403, json={"message": "no rights"}), "answered 403: no rights"),
        (httpx.Response(200, text="<html>"), "did not answer with JSON"),
        (httpx.Response(200, json=[1]), "did not answer with a JSON object"),
        (httpx.Response(200, json={"runs": [3]}), "does not answer as MLflow does"),
        (httpx.Response(200, json={"runs": [], "next_page_token": "1"}), "the same page again"),
    ],
)
def test_a_tracker_that_fails_is_named(tmp_path: Path, answer: httpx.Response, complaint: str) -> None:
    with pytest.raises(TrackerFailed, match=complaint) as failure:
        search(tmp_path, asked(lambda _: httpx.Response(answer.status_code, content=answer.content)))
    assert "mlflow.example.org" in str(failure.value)
    assert "secret" not in str(failure.value)


def test_a_tracker_that_is_not_there_or_says_too_much_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(TrackerFailed, match=r"mlflow\.example\.org cannot be reached: refused"):
        search(tmp_path, asked(refuse))
    monkeypatch.setattr(tracker_module, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(TrackerFailed, match="more than 1000 bytes"):
        search(tmp_path, asked(lambda _: httpx.Response(200, content=b" " * 2000)))


def test_more_runs_than_wanted_are_refused(tmp_path: Path) -> None:
    trackers = asked(lambda _: httpx.Response(200, json={"runs": [mlflow_run("a"), mlflow_run("b")]}))
    with pytest.raises(TrackerFailed, match="more than 1 such runs"):
        search(tmp_path, trackers, max_runs=1)


def test_a_bare_host_means_https_at_its_usual_port() -> None:
    assert origin_of("Example.ORG.") == ("https", "example.org", 443)
    assert origin_of("http://example.org:80/x") == ("http", "example.org", 80)
