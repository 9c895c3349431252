"""Origins of web addresses: scheme, host and port, as a list of allowed servers compares them."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80}


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


def origin_of(address: str) -> Origin:
    """The origin of ``https://HOST[:PORT][/PATH]``, or of a bare ``HOST[:PORT]``, which means https.

    Raises:
        ValueError: it is no such address; credentials and queries are not accepted in it.
    """
    if not address.isprintable() or " " in address:  # some readers drop such characters, others do not
        raise ValueError(
            f"{address[:200]!r} is no address of a server; it holds a blank or a character that cannot be shown"
        )
    parts = urlsplit(address if "://" in address else f"https://{address}")
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{address[:200]!r} is no address of a server; accepted: https://HOST[:PORT][/PATH]")
    return Origin(parts.scheme, parts.hostname.rstrip("."), parts.port or _PORTS[parts.scheme])
