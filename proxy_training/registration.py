"""Under which id the service knows this agent, also after the service has forgotten it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

from proxy_training.service_client import ServiceClient

log = logging.getLogger(__name__)


@dataclass
class Registration:
    """The id of this agent; threads may share it."""

    client: ServiceClient
    name: str
    hostname: str
    device: str
    _id: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def agent_id(self) -> str:
        """The present id; the first call registers.

        Raises:
            ServiceError: the service cannot be reached or refuses.
        """
        with self._lock:
            if self._id is None:
                self._id = self.client.register(self.name, self.hostname, self.device)
                log.info(
                    "Registered as %s at %s", self.name, self.client.server,
                    extra={"event": "agent_registered", "agent_id": self._id},
                )  # fmt: skip
            return self._id

    def forgotten(self, agent_id: str) -> None:
        """The service does not know ``agent_id`` any more: the next call registers anew."""
        with self._lock:
            if self._id == agent_id:
                self._id = None
                log.warning("The service has forgotten this agent", extra={"event": "agent_forgotten"})
