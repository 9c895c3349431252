"""The report of an import: what the runs of the source tell together, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from sqlalchemy.orm import Session

from app.formats.imports.base import Reading
from app.models import Study
from app.schemas.imports import ImportReport, ImportSettings, ScaleSeen, Suspicious
from app.schemas.skip_reasons import SkipReason
from app.services.import_check import Check
from app.services.import_hints import hints
from app.services.import_rows import Comparison
from app.services.import_tally import scales

_MOST_NAMES = 100
# In these units no value can be below 0.
_NEVER_NEGATIVE = frozenset({"bits_per_byte", "nats_per_token", "perplexity"})


@dataclass(frozen=True)
class Summary:
    """What follows from the runs of a source alone. Made before anything is stored, for it takes its time."""

    missing: dict[str, int]
    scales: list[ScaleSeen]
    scale_count: int
    suspicious: list[Suspicious]
    hints: list[str]


def summarise(session: Session, study: Study | None, wanted: ImportSettings, reading: Reading, check: Check) -> Summary:
    """Look at all runs together."""
    runs = list(check.runs.values())
    losses = _losses(study, wanted, reading)
    seen, count = scales(runs)
    return Summary(
        check.tally.missing(runs),
        seen,
        count,
        check.tally.suspicious(runs, losses),
        hints(session, study, wanted, reading, check),
    )


def _losses(study: Study | None, wanted: ImportSettings, reading: Reading) -> frozenset[str]:
    """The targets that cannot be below 0, by the units of the study that is or will be."""
    if study is not None:
        return frozenset(target.name for target in study.targets if target.unit in _NEVER_NEGATIVE)
    found = (target for target in reading.targets if target.unit in _NEVER_NEGATIVE)
    return frozenset(wanted.rename_targets.get(target.name, target.name) for target in found)


def report_of(
    wanted: ImportSettings,
    reading: Reading,
    check: Check,
    summary: Summary,
    found: Comparison,
    study_id: UUID | None,
    import_id: UUID | None,
    now: datetime,
) -> ImportReport:
    """The report of runs that were compared with a study."""
    tally = check.tally
    for external_id, state in found.homeless:
        if state is None:
            tally.skip(external_id, SkipReason.NOT_IN_STUDY, "the study has no run of this id")
        else:
            tally.skip(external_id, SkipReason.NOT_FINISHED, f"the study's run is {state.value}")
    if not wanted.update:
        for change in found.differing:
            tally.differs.add(change.run.external_id)
    return ImportReport(
        id=import_id,
        study_id=study_id,
        format=wanted.format,
        source=reading.source,
        dry_run=wanted.dry_run,
        created_at=now,
        runs_read=len(check.runs) + tally.skipped_count - len(found.homeless),
        taken=len(found.new) + len(found.more_measured),
        updated=len(found.differing) if wanted.update else 0,
        already_there=len(found.same),
        differs=tally.differs.listed(),
        duplicates=tally.duplicates.listed(),
        skipped=tally.skipped(),
        renormalised=tally.renormalised(),
        unknown_domains=_first(tally.unknown_domains),
        unknown_targets=_first(tally.unknown_targets),
        missing_metrics=summary.missing,
        scales=summary.scales,
        scale_count=summary.scale_count,
        suspicious=summary.suspicious,
        hints=[*summary.hints, *_about_differences(wanted, found)],
        notes=[*reading.remarks.notes, *reading.remarks.warnings],
    )


def _about_differences(wanted: ImportSettings, found: Comparison) -> Sequence[str]:
    if not found.differing:
        return ()
    if wanted.update:
        return ("runs were replaced: fits made before still rest on the values of before; fit again",)
    return (
        "runs with ids of stored runs have other values and were left: update replaces the stored ones; "
        "if they are other runs, give the import an id_prefix",
    )


def _first(names: Iterable[str]) -> list[str]:
    return [name[:200] for name in islice(names, _MOST_NAMES)]
