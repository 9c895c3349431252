"""How the command line finds the service and its key.

The address is ``--url``, else MIXWRIGHT_URL, else this machine. The key is that of ``--key-file``, else
MIXWRIGHT_API_KEY, else that of the file which MIXWRIGHT_KEY_FILE names, else - for a service on this machine - the one
that ``mixwright serve`` left in its data folder.
A key is never an option: options are seen by everyone who may list processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from app.calls.errors import ClientError, NotAllowed, Unreachable
from app.local_key import local_key
from app.loopback import is_loopback

if TYPE_CHECKING:
    from app.client import Client

# The heading of the online commands in the help, and what several of them take.
ONLINE = "Asking the service"
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study, its id, or a part of its id.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="How many are shown at most.")]

DEFAULT_URL = "http://127.0.0.1:8321"
_URL, _DATA_DIR = "MIXWRIGHT_URL", "MIXWRIGHT_DATA_DIR"
_KEY, _KEY_FILE = "MIXWRIGHT_API_KEY", "MIXWRIGHT_KEY_FILE"
_UNAUTHORIZED = 401


@dataclass(frozen=True)
class ConnectionOptions:
    """Which service is asked, and who asks."""

    url: Annotated[
        str | None, typer.Option(help=f"Address of the service [default: {_URL} or {DEFAULT_URL}].", show_default=False)
    ] = None
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"File that holds the API key [default: {_KEY}, the file that {_KEY_FILE} names, or the key of this "
            "machine's own service].",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class Place:
    """A service, and the key for it. ``origin`` says where the key was found."""

    url: str
    key: str | None
    origin: str


def find_place(options: ConnectionOptions) -> Place:
    """Where to ask, and with which key; no key where none is found.

    Raises:
        ClientError: an address that is none, or a file that holds no key.
        OSError: the file cannot be read.
    """
    url = options.url or os.environ.get(_URL) or DEFAULT_URL
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClientError(f"the address of the service is {url!r}; write it as http://HOST:PORT or https://HOST")
    if options.key_file is not None:
        return Place(url, _key_of(options.key_file), str(options.key_file))
    if key := os.environ.get(_KEY, "").strip():
        return Place(url, key, _KEY)
    if named := os.environ.get(_KEY_FILE):
        return Place(url, _key_of(Path(named)), named)
    folder = Path(os.environ.get(_DATA_DIR) or ".mixwright")
    key = local_key(folder) if is_loopback(parts.hostname) else None
    return Place(url, key, f"the data folder {folder}")


@contextmanager
def connected(options: ConnectionOptions) -> Iterator[Client]:
    """A client for the block. What goes wrong with the connection is told with what to do about it."""
    from app.client import Client

    place = find_place(options)
    try:
        with Client(place.url, place.key, retries=2) as client:
            yield client
    except Unreachable as exc:
        hint = f"start one with 'mixwright serve', or name another with --url or {_URL}"
        raise ClientError(f"no service answers at {place.url}; {hint} ({exc})") from exc
    except NotAllowed as exc:
        if exc.status != _UNAUTHORIZED:
            raise
        raise ClientError(_key_sentence(place, exc)) from exc


def _key_of(path: Path) -> str:
    key = path.read_text(encoding="utf-8", errors="replace").strip()
    if not key or len(key.split()) > 1 or not key.isascii():
        raise ClientError(f"{path} holds no key; it must hold one API key and nothing else")
    return key


def _key_sentence(place: Place, refusal: NotAllowed) -> str:
    if place.key is not None:
        return f"the service at {place.url} does not accept the key of {place.origin}: {refusal}"
    return (
        f"the service at {place.url} needs an API key; set {_KEY}, or name a file that holds one with --key-file "
        f"(there is none in {place.origin})"
        if is_loopback(urlsplit(place.url).hostname or "")
        else f"the service at {place.url} needs an API key; set {_KEY}, or name a file that holds one with --key-file"
    )
