"""Tables: fits and the laws in them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base

if TYPE_CHECKING:
    from app.models.jobs import Job


class Fit(Base):
    """Mixing laws fitted to the runs that ``run_ids`` names, in that order, and to the points on their way that it
    names (``schemas/run_points.py``)."""

    __tablename__ = "fits"
    __table_args__ = (Index("ix_fits_page", "study_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), unique=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    domain_set_id: Mapped[UUID] = mapped_column(ForeignKey("domain_sets.id"))
    laws: Mapped[list[Any]]
    folds: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    runs_used: Mapped[int]
    # Measured runs of domain sets with other names, which could not enter.
    runs_left_out: Mapped[int] = mapped_column(default=0)
    # Measured runs that were kept out: by their flag or because their weights moved, and by the filter of this fit.
    runs_excluded: Mapped[int] = mapped_column(default=0)
    runs_filtered: Mapped[int] = mapped_column(default=0)
    run_filter: Mapped[dict[str, Any] | None]
    # How many points there are where every one of a run counts, and what is to be known of them.
    points: Mapped[dict[str, Any] | None]
    # The first targets of the study, by position; those added later are unknown to this fit.
    targets_used: Mapped[int] = mapped_column(default=0)
    # Names of targets among these that no run has measured.
    targets_left_out: Mapped[list[Any] | None]
    runs_hash: Mapped[str] = mapped_column(String(64))
    # The largest scale among the runs; predictions are made there when none is asked for.
    model_params: Mapped[float | None]
    train_tokens: Mapped[float | None]
    run_ids: Mapped[list[Any]] = mapped_column(deferred=True)
    chosen_law: Mapped[str | None] = mapped_column(String(100))
    reason: Mapped[str | None] = mapped_column(Text)
    # What was found about the runs: the noise between repeats, measurements that diverged or that all laws miss.
    findings: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]

    job: Mapped[Job] = relationship(lazy="joined")
    results: Mapped[list[LawResult]] = relationship(order_by="LawResult.position", lazy="selectin")


class LawResult(Base):
    """One law inside of a fit: its fidelity, its out-of-fold predictions and the law itself as JSON.

    ``out_of_fold`` is ``{"mean": (n, t), "std": (n, t)}`` over the fit's runs, as losses.
    """

    __tablename__ = "law_results"

    fit_id: Mapped[UUID] = mapped_column(ForeignKey("fits.id"), primary_key=True)
    law: Mapped[str] = mapped_column(String(100), primary_key=True)
    position: Mapped[int]
    fidelity: Mapped[dict[str, Any]]
    # Large, and read one law at a time.
    out_of_fold: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    fitted: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
