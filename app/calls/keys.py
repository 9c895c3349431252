"""Calls: API keys. They need a key with the scope admin."""

from __future__ import annotations

from uuid import UUID

from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.keys import KeyCreate, KeyCreated, KeyRead, KeyUpdate


class KeyCalls(Transport):
    """The calls of this resource; one method a route."""

    def create_key(self, body: KeyCreate) -> KeyCreated:
        """The answer is the only one that holds the key."""
        return self._post("/v1/keys", body, KeyCreated)

    def list_keys(self, limit: int = 100, cursor: str | None = None) -> Page[KeyRead]:
        return self._get("/v1/keys", Page[KeyRead], limit=limit, cursor=cursor)

    def get_key(self, key_id: UUID) -> KeyRead:
        return self._get(f"/v1/keys/{key_id}", KeyRead)

    def change_key(self, key_id: UUID, body: KeyUpdate, etag: str | None = None) -> KeyRead:
        """Change the version ``etag``, or the present one."""
        return self._change(f"/v1/keys/{key_id}", body, KeyRead, etag)

    def revoke_key(self, key_id: UUID) -> KeyRead:
        """Make a key useless, for good."""
        return self._post(f"/v1/keys/{key_id}/revoke", None, KeyRead)
