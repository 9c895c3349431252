"""Ports for servers that are started, killed and started again in the same place."""

from __future__ import annotations

import random
import socket

# Below what systems deal out by themselves (Linux from 32768, others from 49152 on): nobody is given one of these by
# chance while its server is not there yet, or not there for a moment.
_FIRST, _LAST = 20_000, 32_000


def quiet_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    while True:
        port = random.SystemRandom().randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
