"""Which proxy runs to buy next. ``DESIGNS`` is the one registry: a new design is a new file and a line here."""

from mixers.designs.base import Design, Proposal
from mixers.designs.dirichlet import Dirichlet
from mixers.designs.simplex_cover import SimplexCover

DESIGNS: dict[str, Design] = {design.name: design for design in (Dirichlet(), SimplexCover())}

__all__ = ["DESIGNS", "Design", "Proposal"]
