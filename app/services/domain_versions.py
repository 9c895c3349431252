"""Versions of a domain set: what makes one, and what the runs of earlier ones are still good for.

A run is a mixture over the domains of its version. It stays a data point while the newest version has the same domains,
in any order and after renames that were stated. Where a domain was added, left out, split or merged, it says nothing
exact about the new set, so it is left out of fits and counted as stranded.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from app.errors import InvalidRequest, listed
from app.ids import new_id
from app.models import DomainSet, Study
from app.schemas.names import fault_of
from app.schemas.studies import DomainIn

# Normalised shares sum to 1 but for float rounding.
_ROUNDING = 1e-12


def new_version(domains: Sequence[DomainIn], version: int, renames: Mapping[str, str], now: datetime) -> DomainSet:
    """A version that is not stored yet. Its hash covers all that is known of the domains, and their order."""
    rows = [domain.model_dump(mode="json") for domain in domains]
    return DomainSet(
        id=new_id(now),
        version=version,
        content_hash=hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest(),
        domains=rows,
        renames=dict(renames),
        created_at=now,
    )


def domains_in(domain_set: DomainSet) -> list[DomainIn]:
    """The domains of a version, with their priors."""
    return [DomainIn.model_validate(domain) for domain in domain_set.domains]


def names_of(domain_set: DomainSet) -> list[str]:
    """The names of its domains, in order."""
    return [domain["name"] for domain in domain_set.domains]


def carried_names(study: Study, newest: DomainSet) -> dict[UUID, dict[str, str]]:
    """``{version: {its name of a domain: the name in newest}}`` of every version whose runs are data points there."""
    wanted = set(names_of(newest))
    carried: dict[UUID, dict[str, str]] = {}
    later: list[Mapping[str, str]] = []
    for domain_set in reversed([each for each in study.domain_sets if each.version <= newest.version]):
        names = {name: _renamed(name, later) for name in names_of(domain_set)}
        if len(names) == len(wanted) and set(names.values()) == wanted:
            carried[domain_set.id] = names
        later.insert(0, domain_set.renames)
    return carried


def _renamed(name: str, steps: Sequence[Mapping[str, str]]) -> str:
    for renames in steps:
        name = renames.get(name, name)
    return name


def stranded_versions(study: Study) -> list[UUID]:
    """The versions with other domains than the newest."""
    carried = carried_names(study, study.domain_set)
    return [domain_set.id for domain_set in study.domain_sets if domain_set.id not in carried]


def check_renames(renames: Mapping[str, str], before: Sequence[str], after: Sequence[str]) -> None:
    """Refuse renames that do not lead from one version to the next.

    Raises:
        InvalidRequest: a name that neither version has, or two domains that would get one name.
    """
    taken: dict[str, str] = {}
    for old, new in renames.items():
        if old not in before:
            raise InvalidRequest.of(f"renames.{old}", "no such domain in the present version", listed(before))
        if new not in after:
            raise InvalidRequest.of(f"renames.{old}", f"{new!r} is not among the new domains", listed(after))
    for old in before:
        new = renames.get(old, old)
        if new in taken and new in after:
            raise InvalidRequest.of(
                "renames", f"{taken[new]!r} and {old!r} would both become {new!r}", "a name of its own for each domain"
            )
        taken[new] = old


def with_priors(domains: Sequence[DomainIn]) -> list[DomainIn]:
    """Domains with normalised priors: as given, else from the available tokens, else uniform.

    Raises:
        InvalidRequest: a name given twice, priors or token counts of some domains only.
    """
    check_names("domains", [domain.name for domain in domains])
    if any(domain.prior is not None for domain in domains):
        shares, what = [domain.prior for domain in domains], "prior"
    elif any(domain.available_tokens is not None for domain in domains):
        shares, what = [domain.available_tokens for domain in domains], "available_tokens"
    else:
        shares, what = [1.0] * len(domains), "prior"
    for i, share in enumerate(shares):
        if share is None:
            raise InvalidRequest.of(
                f"domains.{i}.{what}",
                "is missing while another domain has one",
                "a prior for every domain"
                if what == "prior"
                else f"{what} of every domain, or a prior for every domain",
            )
    known = [float(share) for share in shares if share is not None]
    total = sum(known)
    if not (total > 0 and math.isfinite(total)):
        raise InvalidRequest.of("domains", f"the priors sum to {total:g}", "a positive, finite sum")
    if abs(total - 1) <= _ROUNDING:
        total = 1.0  # what was read from us comes back to the last digit
    return [d.model_copy(update={"prior": share / total}) for d, share in zip(domains, known, strict=True)]


def check_names(field: str, names: Sequence[str]) -> None:
    """Refuse a name that cannot be shown, and one that is given twice.

    Raises:
        InvalidRequest: saying where.
    """
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            raise InvalidRequest.of(f"{field}.{i}.name", f"{name!r} is named twice", "a different name for each")
        check_name(f"{field}.{i}.name", name)
        seen.add(name)


def check_name(field: str, name: str) -> None:
    """Refuse a name that cannot be shown.

    Raises:
        InvalidRequest: saying what is wrong with it.
    """
    fault = fault_of(name)
    if fault is not None:
        raise InvalidRequest.of(field, fault)
