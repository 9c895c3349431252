"""A weight for each path, for trainers that know paths instead of domains and take many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.formats.exports.base import Plan
from app.formats.exports.header import quoted


@dataclass(frozen=True)
class Source:
    """A path and its share; ``name`` is the domain's, with a number behind it where the domain has several paths."""

    name: str
    path: str
    weight: float


def sources_of(plan: Plan, shares: Mapping[str, float], clean: Callable[[str], str] = str) -> list[Source]:
    """The paths of domains with a share, in the order of the domains; a share is split evenly over a domain's paths.

    Args:
        clean: brings a path into the form of the trainer; paths that are the same then count once.
    """
    taken = {domain.name for domain in plan.domains}
    found: list[Source] = []
    for domain in plan.domains:
        if domain.name not in shares:
            continue
        paths = _cleaned(domain.paths, clean)
        for number, path in enumerate(paths, start=1):
            name = domain.name if len(paths) == 1 else _free_name(f"{domain.name}-{number}", taken)
            found.append(Source(name, path, shares[domain.name] / len(paths)))
    return found


def split_note(plan: Plan, clean: Callable[[str], str] = str) -> tuple[str, ...]:
    """Names the domains whose share was split over several paths."""
    split = [quoted(domain.name) for domain in plan.domains if len(_cleaned(domain.paths, clean)) > 1]
    if not split:
        return ()
    return (
        f"The weight of {', '.join(split)} was split evenly over several paths, because their sizes are not known. "
        "Where they differ, the smaller ones are repeated more often; bind one merged path to avoid that.",
    )


def _cleaned(paths: tuple[str, ...], clean: Callable[[str], str]) -> list[str]:
    return list(dict.fromkeys(clean(path) for path in paths))


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "-"
    taken.add(name)
    return name
