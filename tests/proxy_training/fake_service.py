"""A small service over real HTTP: a queue of runs with attempts and leases, which a test can break in every way.

It follows the service's rules for agents (409 for a late attempt, 404 for an agent it does not know, releases that do
not count), so that an agent that works here works there.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from proxy_training.spec import ProxySpec

_ROUTES = {
    "register": re.compile(r"^/v1/agents$"),
    "heartbeat": re.compile(r"^/v1/agents/(?P<id>[^/]+)/heartbeat$"),
    "claim": re.compile(r"^/v1/runs/claim$"),
    "measurements": re.compile(r"^/v1/runs/measurements$"),
    "complete_many": re.compile(r"^/v1/runs/complete$"),
    "complete": re.compile(r"^/v1/runs/(?P<id>[^/]+)/complete$"),
    "fail": re.compile(r"^/v1/runs/(?P<id>[^/]+)/fail$"),
    "release": re.compile(r"^/v1/runs/(?P<id>[^/]+)/release$"),
}


class Answer(Exception):
    """An HTTP status with a problem body; not an error of the test."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass
class FakeRun:
    """A run as the service knows it. ``completions`` counts results that were taken in."""

    spec: ProxySpec
    state: str = "queued"
    attempt: int = 0
    agent_id: str | None = None
    lease_until: float = 0.0
    progress_tokens: int = 0
    completions: int = 0
    result: dict[str, Any] | None = None
    reason: str = ""
    points: list[int] = field(default_factory=list)


class FakeService:
    """Its state outlives a restart of the server, like a database does."""

    def __init__(
        self,
        specs: Sequence[ProxySpec],
        api_key: str | None = None,
        max_attempts: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runs = {f"00000000-0000-4000-8000-{number:012d}": FakeRun(spec) for number, spec in enumerate(specs)}
        self.agents: set[str] = set()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answer_next: dict[str, list[int]] = {}  # statuses that the next calls of a route get instead
        self._api_key, self._clock = api_key, clock
        self._max_attempts = max_attempts
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen; after a stop on the same port as before."""
        handler = type("Handler", (_Handler,), {"service": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def states(self) -> list[str]:
        with self._lock:
            return [run.state for run in self.runs.values()]

    def calls_of(self, route: str) -> list[dict[str, Any]]:
        with self._lock:
            return [body for name, body in self.calls if name == route]

    def take_away(self, run_id: str) -> None:
        """Another agent holds the run from now on."""
        with self._lock:
            run = self.runs[run_id]
            run.attempt, run.agent_id, run.state = run.attempt + 1, "another agent", "leased"
            run.lease_until = self._clock() + 1000

    def handle(self, path: str, key: str | None, body: dict[str, Any]) -> Any:
        """The JSON of the answer.

        Raises:
            Answer: instead of one.
        """
        if self._api_key is not None and key != f"Bearer {self._api_key}":
            raise Answer(401, "the key is wrong")
        for route, pattern in _ROUTES.items():
            match = pattern.match(path)
            if match:
                with self._lock:
                    self.calls.append((route, body))
                    if self.answer_next.get(route):
                        raise Answer(self.answer_next[route].pop(0), "told to by the test")
                    return getattr(self, f"_{route}")(match.groupdict().get("id"), body)
        raise Answer(404, f"no route {path}")

    def _register(self, _: None, body: dict[str, Any]) -> dict[str, Any]:
        agent_id = f"agent-{len(self.agents) + 1}"
        self.agents.add(agent_id)
        return {"id": agent_id, **body}

    def _claim(self, _: None, body: dict[str, Any]) -> dict[str, Any]:
        self._require_agent(body["agent_id"])
        self._requeue_expired()
        queued = [
            (run_id, run)
            for run_id, run in self.runs.items()
            if run.state == "queued" and run.spec.settings.corpus_hash in body["corpus_hashes"]
        ]
        head = queued[0][1].spec.settings.batch_key if queued else ""
        batch = [(run_id, run) for run_id, run in queued if run.spec.settings.batch_key == head][: body["max_runs"]]
        for _run_id, run in batch:
            run.state, run.attempt, run.agent_id = "leased", run.attempt + 1, body["agent_id"]
            run.lease_until = self._clock() + body["lease_seconds"]
        claimed = [
            {"run_id": run_id, "attempt": run.attempt, "spec": run.spec.model_dump(mode="json")}
            for run_id, run in batch
        ]
        return {"runs": claimed, "lease_seconds": body["lease_seconds"]}

    def _heartbeat(self, agent_id: str, body: dict[str, Any]) -> dict[str, Any]:
        self._require_agent(agent_id)
        lost = []
        for held in body["runs"]:
            run = self.runs[held["run_id"]]
            if (run.state, run.attempt, run.agent_id) != ("leased", held["attempt"], agent_id):
                lost.append(held["run_id"])
                continue
            run.lease_until = self._clock() + body["lease_seconds"]
            run.progress_tokens = held["progress_tokens"]
        return {"lost": lost}

    def _measurements(self, _: None, body: dict[str, Any]) -> dict[str, Any]:
        lost = []
        for report in body["points"]:
            try:
                self._held(report["run_id"], report).points.append(report["point"]["train_tokens"])
            except Answer:
                lost.append(report["run_id"])
        return {"lost": lost}

    def _complete(self, run_id: str, body: dict[str, Any]) -> None:
        run = self.runs[run_id]
        if run.attempt == body["attempt"] and run.result is not None:
            return
        run = self._held(run_id, body)
        run.state = "succeeded" if body["result"]["status"] == "succeeded" else "failed"
        run.result = body["result"]
        run.completions += 1

    def _complete_many(self, _: None, body: dict[str, Any]) -> dict[str, Any]:
        lost = []
        for report in body["results"]:
            try:
                self._complete(report["run_id"], report)
            except (Answer, KeyError):
                lost.append(report["run_id"])
        return {"lost": lost}

    def _fail(self, run_id: str, body: dict[str, Any]) -> None:
        run = self._held(run_id, body)
        run.reason = body["reason"]
        run.state = "queued" if body["retry"] and run.attempt < self._max_attempts else "failed"

    def _release(self, run_id: str, body: dict[str, Any]) -> None:
        self._held(run_id, body).state = "queued"

    def _held(self, run_id: str, body: dict[str, Any]) -> FakeRun:
        run = self.runs.get(run_id)
        if run is None:
            raise Answer(404, f"no run {run_id}")
        if (run.state, run.attempt) != ("leased", body["attempt"]):
            raise Answer(409, f"run {run_id} is {run.state} at attempt {run.attempt}")
        return run

    def _require_agent(self, agent_id: str) -> None:
        if agent_id not in self.agents:
            raise Answer(404, f"no agent {agent_id}")

    def _requeue_expired(self) -> None:
        for run in self.runs.values():
            if run.state == "leased" and run.lease_until < self._clock():
                run.state = "queued"


class _Handler(BaseHTTPRequestHandler):
    service: FakeService

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            answer, status = self.service.handle(self.path, self.headers.get("Authorization"), body), 200
        except Answer as problem:
            answer, status = {"detail": str(problem), "status": problem.status}, problem.status
        text = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(204 if answer is None else status)
        if text:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        del format, args
