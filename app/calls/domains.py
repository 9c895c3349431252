"""Calls: versions of the domain set, where trainers find the domains, and targets."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

from app.calls.transport import Transport
from app.schemas.bindings import BindingPut, BindingRead
from app.schemas.common import Page
from app.schemas.studies import DomainSetCreate, DomainSetUse, TargetIn
from app.schemas.targets import TargetPatch, TargetRead


class DomainCalls(Transport):
    """The calls of these resources; one method a route."""

    def create_domain_set(self, study_id: UUID, body: DomainSetCreate) -> DomainSetUse:
        """A new version of the domains; the present one when it is the same."""
        return self._post(f"/v1/studies/{study_id}/domain-sets", body, DomainSetUse)

    def list_domain_sets(self, study_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[DomainSetUse]:
        return self._get(f"/v1/studies/{study_id}/domain-sets", Page[DomainSetUse], limit=limit, cursor=cursor)

    def get_domain_set(self, domain_set_id: UUID) -> DomainSetUse:
        return self._get(f"/v1/domain-sets/{domain_set_id}", DomainSetUse)

    def list_bindings(self, domain_set_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[BindingRead]:
        return self._get(f"/v1/domain-sets/{domain_set_id}/bindings", Page[BindingRead], limit=limit, cursor=cursor)

    def get_binding(self, domain_set_id: UUID, trainer: str) -> BindingRead:
        return self._get(_binding(domain_set_id, trainer), BindingRead)

    def put_binding(self, domain_set_id: UUID, trainer: str, body: BindingPut, etag: str | None = None) -> BindingRead:
        """Say where a trainer finds the domains, for the first time or in place of the version ``etag``."""
        return self._put(_binding(domain_set_id, trainer), body, BindingRead, etag)

    def delete_binding(self, domain_set_id: UUID, trainer: str, etag: str | None = None) -> None:
        self._delete(_binding(domain_set_id, trainer), etag)

    def add_target(self, study_id: UUID, body: TargetIn) -> TargetRead:
        return self._post(f"/v1/studies/{study_id}/targets", body, TargetRead)

    def list_targets(self, study_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[TargetRead]:
        return self._get(f"/v1/studies/{study_id}/targets", Page[TargetRead], limit=limit, cursor=cursor)

    def get_target(self, study_id: UUID, name: str) -> TargetRead:
        return self._get(_target(study_id, name), TargetRead)

    def change_target(self, study_id: UUID, name: str, body: TargetPatch, etag: str | None = None) -> TargetRead:
        """Change the version ``etag``, or the present one."""
        return self._change(_target(study_id, name), body, TargetRead, etag)


def _binding(domain_set_id: UUID, trainer: str) -> str:
    return f"/v1/domain-sets/{domain_set_id}/bindings/{quote(trainer, safe='')}"


def _target(study_id: UUID, name: str) -> str:
    # A name may hold slashes and anything else that means something in an address.
    return f"/v1/studies/{study_id}/targets/{quote(name, safe='')}"
