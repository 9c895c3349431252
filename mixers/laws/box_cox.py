"""A Box-Cox curve in every domain's share: BiMix's sum of power laws, allowed to be straighter.

    y(p, s) = f + (level + sum_j b_j G(p_j / q_j; alpha_j)) (1 - u + u (s / s_ref)^-beta),   b_j >= 0, alpha_j >= -0.9

The law and the fit of bimix_multi.py, with exponents that may pass the logarithm (alpha = 0) and go towards a straight
line in the share (alpha = -1). G is convex and falling for every alpha > -1 (Box & Cox 1964), so each target stays
convex in p, and the runs decide how soon a domain's tokens stop to matter. Power laws alone say that the first tokens
of a domain matter most of all, which instruction tuning and very small models do not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mixers.laws.bimix_multi import BiMixMulti, FittedBiMixMulti


@dataclass(frozen=True)
class FittedBoxCox(FittedBiMixMulti):
    """As of bimix_multi, with exponents below 0."""

    law: ClassVar[str] = "box_cox"


@dataclass(frozen=True)
class BoxCox(BiMixMulti):
    """A sum of convex curves in all shares, from nearly straight to power laws, times a power law in the tokens."""

    name: ClassVar[str] = "box_cox"
    summary: ClassVar[str] = "a convex curve in every domain's share, from a line to a power law (Box-Cox)"
    fitted: ClassVar[type[FittedBiMixMulti]] = FittedBoxCox
    least_alpha: ClassVar[float] = -0.9
