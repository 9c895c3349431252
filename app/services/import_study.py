"""The study that an import makes, from what its source tells of domains and targets."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from app.errors import InvalidRequest
from app.formats.imports.base import Reading
from app.schemas.imports import StudyImport
from app.schemas.names import fault_of
from app.schemas.studies import Constraints, DomainIn, StudyCreate, TargetIn


def study_of(wanted: StudyImport, reading: Reading) -> StudyCreate:
    """Domains with priors, tokens and bounds, and targets with units and directions, as far as the source tells them.

    Raises:
        InvalidRequest: the source has no domains or no targets, or a name that cannot be one.
    """
    for what, found in (("domains", reading.domains), ("targets", reading.targets)):
        if not found:
            raise InvalidRequest.of("source", f"it tells of no {what}, so that no study can be made from it")
    try:
        return StudyCreate(
            name=wanted.name,
            description=wanted.description,
            domains=_domains(wanted, reading),
            targets=_targets(wanted, reading),
            objective=wanted.objective,
            constraints=wanted.constraints or _constraints(wanted, reading),
        )
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = ".".join(map(str, wrong["loc"]))
        raise InvalidRequest.of("source", f"{where} {str(wrong.get('input'))[:80]!r}: {wrong['msg']}") from None


def _domains(wanted: StudyImport, reading: Reading) -> list[DomainIn]:
    found: dict[str, DomainIn] = {}
    for each in reading.domains:
        name = _shown(wanted.rename_domains.get(each.name, each.name), "domain")
        domain = DomainIn(
            name=name,
            available_tokens=each.available_tokens,
            prior=each.prior,
            group=each.group,
            mean_document_tokens=each.mean_document_tokens,
        )
        found.setdefault(name, domain)
    return list(found.values())


def _targets(wanted: StudyImport, reading: Reading) -> list[TargetIn]:
    found: dict[str, TargetIn] = {}
    for each in reading.targets:
        name = _shown(wanted.rename_targets.get(each.name, each.name), "target")
        found.setdefault(
            name,
            TargetIn(name=name, unit=each.unit, direction=each.direction, weight=each.weight, family=each.family),
        )
    return list(found.values())


def _constraints(wanted: StudyImport, reading: Reading) -> Constraints:
    return Constraints(
        min_weights=_bounds(wanted, {each.name: each.min_weight for each in reading.domains}),
        max_weights=_bounds(wanted, {each.name: each.max_weight for each in reading.domains}),
    )


def _bounds(wanted: StudyImport, bounds: Mapping[str, float | None]) -> dict[str, float]:
    return {wanted.rename_domains.get(name, name): bound for name, bound in bounds.items() if bound is not None}


def _shown(name: str, what: str) -> str:
    fault = fault_of(name)
    if fault is not None:
        raise InvalidRequest.of("source", f"the name of a {what} {fault}")
    return name
