"""The description of the API says of every call who may make it, what it takes and how it can end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from app.main import create_app
from app.openapi_examples import EXAMPLES
from app.schemas.common import Body
from app.settings import Settings

Operation = dict[str, Any]
OPEN = {"/healthz", "/readyz"}
ALWAYS = {"401", "403", "413", "421", "422", "429", "503"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("described"))).openapi()


@pytest.fixture
def calls(document: dict[str, Any]) -> dict[str, Operation]:
    """Every call under /v1, by its method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1")
    }


def headers_of(operation: Operation) -> set[str]:
    return {given["name"] for given in operation.get("parameters", ()) if given["in"] == "header"}


def bodies() -> Iterator[type[BaseModel]]:
    waiting = [Body]
    while waiting:
        waiting += waiting[0].__subclasses__()
        yield waiting.pop(0)


def test_every_call_has_a_name_of_its_own_a_summary_and_a_tag(document: dict[str, Any]) -> None:
    told = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in told]
    assert len(names) == len(set(names)) > 75
    assert all(name.isidentifier() for name in names)
    assert all(operation["summary"] and operation["description"] and operation["tags"] for operation in told)


def test_all_but_the_health_of_the_process_asks_for_a_key(document: dict[str, Any]) -> None:
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    free = {path for path, methods in document["paths"].items() for each in methods.values() if "security" in each}
    assert free == OPEN


def test_every_refusal_is_a_problem(calls: dict[str, Operation]) -> None:
    for call, operation in calls.items():
        assert set(operation["responses"]) >= ALWAYS, call
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                schema = {"$ref": "#/components/schemas/Problem"}
                assert answer["content"] == {"application/problem+json": {"schema": schema}}, f"{call} {status}"


def test_a_change_names_its_version_and_can_be_refused_for_it(calls: dict[str, Operation]) -> None:
    for call, operation in calls.items():
        changes = call.split()[0] in ("PATCH", "PUT", "DELETE")
        assert ("If-Match" in headers_of(operation)) == changes, call
        assert ({"412", "428"} <= set(operation["responses"])) == changes, call


def test_what_can_be_known_already_carries_its_version(calls: dict[str, Operation]) -> None:
    tagged = 0
    for call, operation in calls.items():
        known = call.startswith("GET ") and "If-None-Match" in headers_of(operation)
        assert ("304" in operation["responses"]) == known, call
        tagged += known
        if known:
            assert operation["responses"]["200"]["headers"]["ETag"]["required"], call
    assert tagged > 10


def test_every_post_can_be_sent_again_with_a_key_and_no_other_call_can(calls: dict[str, Operation]) -> None:
    for call, operation in calls.items():
        assert ("Idempotency-Key" in headers_of(operation)) == call.startswith("POST "), call


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas, waiting, found = document["components"]["schemas"], [document], 0
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str):
                found += 1
                assert reference.removeprefix("#/components/schemas/") in schemas, reference
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    assert found > 500


def test_every_body_has_an_example_that_is_accepted(calls: dict[str, Operation]) -> None:
    shown = set()
    for operation in calls.values():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        shown.add(operation["operationId"])
        schema = content["schema"]
        named = [part["$ref"].rpartition("/")[2] for part in schema.get("anyOf", [schema]) if "$ref" in part]
        name = named[0] if named else schema["title"]  # a body that may be left out is one of two
        kinds = [kind for kind in bodies() if name.rpartition("__")[2] == kind.__name__]
        assert any(accepts(kind, content["example"]) for kind in kinds), operation["operationId"]
    assert shown == set(EXAMPLES)


def accepts(kind: type[BaseModel], body: dict[str, Any]) -> bool:
    try:
        kind.model_validate(body)
    except ValidationError:
        return False
    return True
