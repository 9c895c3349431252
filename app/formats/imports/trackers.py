"""Asking experiment trackers over the network, and only those that the server's settings allow.

The address comes from a caller, so it is held against a list of origins; redirects are not followed, proxies of the
environment are not used, and an answer may neither last nor grow without end. Tokens come from the server's own
settings and are sent to listed origins alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.origins import origin_of
from mixers.errors import InvalidInput

TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 * 2**20


class TrackerFailed(Exception):
    """A tracker cannot be reached, or does not answer as it should. The message names it."""


@dataclass(frozen=True)
class Trackers:
    """The trackers that may be asked.

    Attributes:
        allowed: origins; a bare host name means https. ``http://host:port`` allows plain HTTP.
        mlflow_token, wandb_key: credentials of this server; empty for none.
        transport: another way to the network, for tests.
    """

    allowed: tuple[str, ...] = ()
    mlflow_token: str = ""
    wandb_key: str = ""
    transport: httpx.BaseTransport | None = None

    def check(self, url: str, option: str) -> None:
        """Refuse a ``url`` whose origin is not on the list.

        Raises:
            InvalidInput: naming the option and what the list holds.
        """
        try:
            origin = origin_of(url)
        except ValueError as error:
            raise InvalidInput(f"options.{option}: {error}") from None
        if "://" not in url or origin not in {origin_of(each) for each in self.allowed}:
            listed = ", ".join(self.allowed) or "none"
            raise InvalidInput(
                f"options.{option}: {origin.scheme}://{origin.host}:{origin.port} is not among the servers that this "
                f"one may ask ({listed}); an operator lists it in MIXWRIGHT_IMPORT_HOSTS"
            )

    def post(self, url: str, body: Mapping[str, Any], token: str = "") -> dict[str, Any]:
        """The JSON object that a tracker answers to ``body``. ``url`` must have been checked.

        Raises:
            TrackerFailed: no answer in time, a refusal, or something else than a JSON object.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            with (
                httpx.Client(
                    timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False, transport=self.transport
                ) as client,
                client.stream("POST", url, json=body, headers=headers) as response,
            ):
                content = _bounded(response, url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TrackerFailed(f"{_host(url)} cannot be reached: {error or type(error).__name__}") from None
        if response.status_code != 200:
            raise TrackerFailed(f"{_host(url)} answered {response.status_code}{_reason(content)}")
        return _object(content, url)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _bounded(response: httpx.Response, url: str) -> bytes:
    content = bytearray()
    started = time.monotonic()
    for part in response.iter_bytes():
        content += part
        if len(content) > MAX_ANSWER_BYTES:
            raise TrackerFailed(f"{_host(url)} answered with more than {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() - started > TIMEOUT_SECONDS:
            raise TrackerFailed(f"{_host(url)} needs more than {TIMEOUT_SECONDS:g} seconds for one answer")
    return bytes(content)


def _object(content: bytes, url: str) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise TrackerFailed(f"{_host(url)} did not answer with JSON") from None
    if not isinstance(answer, dict):
        raise TrackerFailed(f"{_host(url)} did not answer with a JSON object")
    return answer


def _reason(content: bytes) -> str:
    """What the tracker says itself, for whoever has to mend the query."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    message = answer.get("message") if isinstance(answer, dict) else None
    return f": {message[:300]}" if isinstance(message, str) else ""
