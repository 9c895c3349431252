"""Which mixtures to train next."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from sqlalchemy.orm import Session

from app.errors import InvalidRequest
from app.schemas.runs import Suggestion, SuggestionCreate, SuggestionsRead
from app.schemas.studies import Constraints
from app.services.domain_versions import domains_in
from app.services.mixtures import named
from app.services.observations import known_mixtures
from app.services.studies import find_study
from app.services.wishes import feasible_set
from mixers.designs import DESIGNS


def suggest(session: Session, study_id: UUID, body: SuggestionCreate) -> SuggestionsRead:
    """Mixtures by a design, inside the study's constraints and different from what it has. Nothing is stored.

    Raises:
        InvalidRequest: an unknown design.
    """
    study = find_study(session, study_id)
    design = DESIGNS.get(body.design)
    if design is None:
        raise InvalidRequest.of("design", f"there is no design {body.design!r}", ", ".join(DESIGNS))
    feasible = feasible_set(domains_in(study.domain_set), Constraints.model_validate(study.constraints))
    known = known_mixtures(session, study)
    proposals = design.suggest(body.count, feasible, known, None, np.random.default_rng(body.seed))
    names = feasible.domains.names
    suggestions = [Suggestion(weights=named(proposal.p, names), why=proposal.why) for proposal in proposals]
    return SuggestionsRead(design=body.design, suggestions=suggestions)
