"""How a domain set changes, which domains a change affects, and which runs outlive it (Olmix, arXiv 2602.12237).

    add         new domains join                              affected: the new ones
    remove      domains leave                                 affected: none of what is left
    partition   a domain is split into parts                  affected: the parts
    revise      domains keep their names, not their content   affected: the revised ones

Unaffected domains keep the ratios among them that were found before (see reuse.py). The prior keeps its ratios among
domains that stay; what changes takes its mass by available tokens, or as it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from mixers.constraints import domain_index
from mixers.errors import InvalidInput
from mixers.types import Domains, Observations


@dataclass(frozen=True)
class DomainUpdate:
    """A domain set before and after a change, k and m domains.

    Args:
        affected: names in ``after`` whose weights are open again. unaffected: the others, in order.
        lift: share of each old domain (row) that each new one (column) stands for, shape (k, m).
        lost: old domains (k,) that exist no more: a run that used one says nothing about the new set.
    """

    before: Domains
    after: Domains
    affected: tuple[str, ...]
    lift: Float[np.ndarray, "k m"]
    lost: Bool[np.ndarray, " k"]

    @property
    def unaffected(self) -> tuple[str, ...]:
        return tuple(name for name in self.after.names if name not in self.affected)

    def carry(self, runs: Observations) -> Observations:
        """The runs that outlive the change, as runs on the new set; those that used a lost domain are left out.

        Raises:
            InvalidInput: the runs are not on the set before the change.
        """
        if runs.domains.names != self.before.names:
            raise InvalidInput("the runs are not on the domain set before the change")
        kept = runs.rows((runs.p[:, self.lost] == 0).all(axis=1))
        return replace(kept, domains=self.after, p=kept.p @ self.lift)


def add_domains(domains: Domains, added: Domains, prior_mass: float | None = None) -> DomainUpdate:
    """``added`` behind the others.

    Args:
        prior_mass: prior of the new domains together; by available tokens when left out.
    """
    for name in added.names:
        if name in domains.names:
            raise InvalidInput(f"domain {name!r} is there already")
    mass = _mass(added, domains, prior_mass)
    after = Domains(
        (*domains.names, *added.names),
        np.concatenate([(1 - mass) * domains.prior, mass * added.prior]),
        np.concatenate([domains.available_tokens, added.available_tokens]),
    )
    k = len(domains)
    return DomainUpdate(domains, after, added.names, np.eye(k, len(after)), np.zeros(k, dtype=bool))


def remove_domains(domains: Domains, removed: Sequence[str]) -> DomainUpdate:
    """Without ``removed``; the ratios among the others stay."""
    lost = _mask(domains, removed, "the list of removed domains")
    if lost.all():
        raise InvalidInput("all domains would be removed; at least one must stay")
    stay = np.flatnonzero(~lost)
    after = Domains(tuple(domains.names[j] for j in stay), domains.prior[stay], domains.available_tokens[stay])
    return DomainUpdate(domains, after, (), np.eye(len(domains))[:, stay], lost)


def partition_domain(domains: Domains, name: str, parts: Domains) -> DomainUpdate:
    """``parts`` in the place of the named domain, sharing its prior by their own.

    A run on the whole counts as one on the parts in the ratios of their prior: so its text was sampled.
    """
    j = domain_index(domains.names, name, "the partition")
    rest = [i for i in range(len(domains)) if i != j]
    for part in parts.names:
        if part in domains.names and part != name:
            raise InvalidInput(f"domain {part!r} is there already")
    after = Domains(
        (*domains.names[:j], *parts.names, *domains.names[j + 1 :]),
        np.concatenate([domains.prior[:j], domains.prior[j] * parts.prior, domains.prior[j + 1 :]]),
        np.concatenate([domains.available_tokens[:j], parts.available_tokens, domains.available_tokens[j + 1 :]]),
    )
    lift = np.zeros((len(domains), len(after)))
    lift[j, j : j + len(parts)] = parts.prior
    lift[rest, [i if i < j else i + len(parts) - 1 for i in rest]] = 1.0
    return DomainUpdate(domains, after, parts.names, lift, np.zeros(len(domains), dtype=bool))


def revise_domains(domains: Domains, revised: Domains, prior_mass: float | None = None) -> DomainUpdate:
    """``revised`` under their old names, with new token counts; other content, so that old runs on them are lost.

    Args:
        prior_mass: prior of the revised domains together; by available tokens when left out.
    """
    lost = _mask(domains, revised.names, "the list of revised domains")
    stay = np.flatnonzero(~lost)
    mass = 1.0
    if len(stay):
        others = Domains(tuple(domains.names[j] for j in stay), domains.prior[stay], domains.available_tokens[stay])
        mass = _mass(revised, others, prior_mass)
    place = [domains.names.index(name) for name in revised.names]
    prior, tokens = np.empty(len(domains)), domains.available_tokens.copy()
    prior[stay] = (1 - mass) * domains.prior[stay] / max(float(domains.prior[stay].sum()), np.finfo(float).tiny)
    prior[place], tokens[place] = mass * revised.prior, revised.available_tokens
    after = Domains(domains.names, prior, tokens)
    return DomainUpdate(domains, after, revised.names, np.eye(len(domains)), lost)


def _mass(part: Domains, others: Domains, told: float | None) -> float:
    """The prior of ``part`` beside ``others``."""
    if told is not None:
        if not 0 <= told <= 1:
            raise InvalidInput(f"the prior mass is {told}; it must lie in 0 .. 1")
        return told
    own, rest = float(part.available_tokens.sum()), float(others.available_tokens.sum())
    if not np.isfinite(own + rest) or own + rest <= 0:
        raise InvalidInput("the available tokens of some domain are not known; state the prior mass of the new ones")
    return own / (own + rest)


def _mask(domains: Domains, names: Sequence[str], where: str) -> np.ndarray:
    mask = np.zeros(len(domains), dtype=bool)
    mask[[domain_index(domains.names, name, where) for name in names]] = True
    return mask
