"""Plans that the tests of trainer formats share: names and shares that formats get wrong when they are careless."""

from __future__ import annotations

from typing import Any

from app.formats.exports.base import ExportDomain, Plan, PlanStage

# Sums to 1 in floating point, and no weight has a short decimal form.
THIRDS = {"web": 1 / 3, "code": 2 / 3 - 1e-5 / 7, "wiki": 1e-5 / 7}
PROVENANCE = {"study": "June model\ntrain: [evil]", "recommendation": "0197", "law": "log_linear", "runs_hash": "ab12"}


def domain(name: str, tokens: int | None = 1_000_000, length: float | None = None, *paths: str) -> ExportDomain:
    return ExportDomain(name, paths or (f"/data/{name}",), tokens, length)


def static_plan(shares: dict[str, float] | None = None, tokens: int = 1_000_000, **options: Any) -> Plan:
    """One stage; each domain has a million tokens and a path of its name."""
    shares = THIRDS if shares is None else shares
    return Plan(tuple(domain(name) for name in shares), (PlanStage(0, tokens, shares),), ("law",), PROVENANCE, options)


def staged_plan(*ends: int, **options: Any) -> Plan:
    """Web and code; code's share grows stage by stage, and wiki comes in the last one."""
    starts = (0, *ends[:-1])
    shares = [{"web": 0.7 - 0.1 * n, "code": 0.3 + 0.1 * n} for n in range(len(ends) - 1)]
    shares.append({"web": 0.25, "code": 0.65, "wiki": 0.1})
    stages = tuple(PlanStage(a, b, p) for a, b, p in zip(starts, ends, shares, strict=True))
    return Plan(tuple(map(domain, ("web", "code", "wiki"))), stages, ("wiki",), PROVENANCE, options)


def text_of(export: Any, name: str) -> str:
    (found,) = [file.text for file in export.files if file.name == name]
    return found
