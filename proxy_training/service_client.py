"""The calls of an agent to the service. Bodies follow its OpenAPI document; its code is not imported.

One call is one request: an answer, or one of

    Unreachable     no usable answer (connection, time-out, 429, 5xx): the same call may succeed later
    LeaseLost       409: the run belongs to another attempt
    Refused         any other refusal, with the sentence of the problem body; 404 is also how a forgotten agent looks
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from proxy_training.agent_key import KEY_VARIABLE
from proxy_training.errors import LeaseLost, Refused, ServiceError, Unreachable
from proxy_training.spec import Processor, ProxyResult, ProxySpec, TrajectoryPoint

# Short enough that an agent that is told to stop still leaves in time while the service hangs.
_TIMEOUT_SECONDS = 5.0

Answer = TypeVar("Answer", bound=BaseModel)


class ClaimedRun(BaseModel):
    """A run that this agent holds from now on. Every later write about it must carry ``attempt``."""

    run_id: str
    attempt: int
    spec: ProxySpec


class HeldRun(BaseModel):
    """A run that the agent says it still works on."""

    run_id: str
    attempt: int
    progress_tokens: int


class ReportedPoint(BaseModel):
    """A point of the trajectory of one attempt."""

    run_id: str
    attempt: int
    point: TrajectoryPoint


class ReportedResult(BaseModel):
    """The result of one attempt."""

    run_id: str
    attempt: int
    result: ProxyResult


class _Agent(BaseModel):
    id: str


class _Claim(BaseModel):
    runs: list[ClaimedRun]


class _Lost(BaseModel):
    lost: list[str]


class ServiceClient:
    """A connection pool to one service; threads may share it.

    Args:
        server: like ``http://127.0.0.1:8321``.
        api_key: sent as a bearer token, never logged.

    Raises:
        ServiceError: ``server`` is not an http or https URL.
    """

    def __init__(self, server: str, api_key: str | None = None) -> None:
        self.server = server.rstrip("/")
        url = address_of(self.server)
        self._http = httpx.Client(
            base_url=f"{self.server}/v1/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=_TIMEOUT_SECONDS,
            # A proxy of the environment must not come between a program and its own machine.
            trust_env=not _is_loopback(url.host),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def register(self, name: str, hostname: str, device: str) -> str:
        """Make this process known. Returns the id of the agent."""
        return self._ask("agents", {"name": name, "hostname": hostname, "device": device}, _Agent).id

    def claim(
        self,
        agent_id: str,
        max_runs: int,
        corpus_hashes: Sequence[str],
        lease_seconds: float,
        processor: Processor = "gpu",
    ) -> list[ClaimedRun]:
        """Lease runs that one stack can train on such a processor; none when nothing waits."""
        body = {
            "agent_id": agent_id,
            "max_runs": max_runs,
            "corpus_hashes": list(corpus_hashes),
            "lease_seconds": lease_seconds,
            "processor": processor,
        }
        return self._ask("runs/claim", body, _Claim).runs

    def heartbeat(self, agent_id: str, held: Sequence[HeldRun], lease_seconds: float) -> list[str]:
        """Keep the leases of ``held``. Returns the ids of those that are lost."""
        body = {"runs": [run.model_dump() for run in held], "lease_seconds": lease_seconds}
        return self._ask(f"agents/{agent_id}/heartbeat", body, _Lost).lost

    def measure(self, points: Sequence[ReportedPoint]) -> list[str]:
        """Report points of a stack. Returns the ids of the runs that are lost, or given up by these points."""
        return self._ask(
            "runs/measurements", {"points": [point.model_dump(mode="json") for point in points]}, _Lost
        ).lost

    def complete(self, run_id: str, attempt: int, result: ProxyResult) -> None:
        """Report the result. The same report may be sent again."""
        self._post(f"runs/{run_id}/complete", {"attempt": attempt, "result": result.model_dump(mode="json")})

    def complete_many(self, results: Sequence[ReportedResult]) -> list[str]:
        """Report the results of a stack. Returns the ids of the runs that are held by other attempts by now."""
        return self._ask(
            "runs/complete", {"results": [result.model_dump(mode="json") for result in results]}, _Lost
        ).lost

    def fail(self, run_id: str, attempt: int, reason: str, retry: bool) -> None:
        """Report that the attempt broke."""
        self._post(f"runs/{run_id}/fail", {"attempt": attempt, "reason": reason[:10_000], "retry": retry})

    def release(self, run_id: str, attempt: int) -> None:
        """Give the run back; the attempt does not count."""
        self._post(f"runs/{run_id}/release", {"attempt": attempt})

    def _ask(self, path: str, body: dict[str, Any], answer: type[Answer]) -> Answer:
        response = self._post(path, body)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise ServiceError(
                f"{self.server} does not answer like this version of the service ({where}: {first['msg']})"
            ) from exc

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            response = self._http.post(path, json=body)
        except httpx.TransportError as exc:
            raise Unreachable(f"{self.server} cannot be reached: {str(exc) or type(exc).__name__}") from exc
        if response.is_success:
            return response
        status, sentence = response.status_code, f"{self.server}: {_sentence(response)}"
        if status == HTTPStatus.UNAUTHORIZED:
            sentence = (
                f"{self.server} does not know the key; put one of scope agent into {KEY_VARIABLE}, or name its file"
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error:
            raise Unreachable(sentence)
        raise (LeaseLost if status == HTTPStatus.CONFLICT else Refused)(sentence, status)


def address_of(server: str) -> httpx.URL:
    """The address of a service.

    Raises:
        ServiceError: ``server`` is not an http or https URL.
    """
    try:
        url = httpx.URL(server)
    except httpx.InvalidURL as exc:
        raise ServiceError(f"{server!r} is not an address of a service; write http://host:port") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise ServiceError(f"{server!r} is not an address of a service; write http://host:port")
    return url


def _sentence(response: httpx.Response) -> str:
    """The detail of a problem body (RFC 9457), or the bare status."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {response.status_code}"
    return f"{detail} (HTTP status {response.status_code})"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
