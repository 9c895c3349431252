"""What may be wrong with an import though nothing was refused, in sentences for whoever reads the report."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.formats.imports.base import Reading
from app.models import Run, Study
from app.schemas.imports import ImportSettings
from app.schemas.run_fidelity import RunFidelity
from app.schemas.runs import RunState
from app.services.import_check import Check

# Below these a count was most likely told in millions or billions.
_FEW_PARAMS = 10_000
_FEW_TOKENS = 100_000
_SCALES_LOOKED_AT = 1_000


def hints(session: Session, study: Study | None, wanted: ImportSettings, reading: Reading, check: Check) -> list[str]:
    """One sentence each."""
    told = [
        *_about_fidelity(check),
        *_about_tokenizers(reading, check),
        *_about_scales(session, study, check),
        *_about_domains(check),
    ]
    if study is not None:
        told += _about_directions(study, wanted, reading)
    return told


def _about_fidelity(check: Check) -> Iterator[str]:
    merged = sum(run.fidelity is RunFidelity.MERGED for run in check.runs.values())
    if merged:
        yield (
            f"{merged} of {len(check.runs)} runs are of fidelity merged: fits leave them out, unless a fit is asked to "
            "use runs of that fidelity alone"
        )


def _about_tokenizers(reading: Reading, check: Check) -> Iterator[str]:
    names = check.tally.tokenizers
    per_token = sorted(target.name for target in reading.targets if target.unit == "nats_per_token")
    if len(names) > 1:
        losses = f" ({', '.join(per_token[:5])})" if per_token else ""
        yield (
            f"the runs name several tokenizers ({', '.join(name[:80] for name in names)}): losses per token{losses} of "
            "two tokenizers cannot be compared; bits per byte can"
        )


def _about_scales(session: Session, study: Study | None, check: Check) -> Iterator[str]:
    runs = [run for run in check.runs.values() if run.weights is not None]
    for name, few in (("model_params", _FEW_PARAMS), ("train_tokens", _FEW_TOKENS)):
        told = [value for run in runs if (value := getattr(run, name)) is not None]
        if runs and not told:
            yield f"no run tells {name}: laws across scales cannot use them; the setting {name} of the import gives it"
        elif len(told) < len(runs):
            yield f"{len(runs) - len(told)} of {len(runs)} runs do not tell {name}, the others do"
        if told and max(told) < few:
            yield f"{name} is at most {max(told)}: if that is in millions or billions, write it out in full"
    if study is None or not runs:
        return
    ours = {(run.model_params, run.train_tokens) for run in runs}
    theirs = _stored_scales(session, study)
    if theirs and not ours & theirs:
        yield "none of the scales of these runs is among those of the runs that the study has"


def _stored_scales(session: Session, study: Study) -> set[tuple[int | None, int | None]]:
    rows = select(Run.model_params, Run.train_tokens).where(Run.study_id == study.id, Run.state == RunState.SUCCEEDED)
    return {(row[0], row[1]) for row in session.execute(rows.distinct().limit(_SCALES_LOOKED_AT))}


def _about_domains(check: Check) -> Iterator[str]:
    runs = [run.weights for run in check.runs.values() if run.weights is not None]
    unused = [name for j, name in enumerate(check.domains) if runs and not any(weights[j] for weights in runs)]
    if unused:
        yield f"no run trains on {', '.join(unused[:5])}{' and others' if len(unused) > 5 else ''}"


def _about_directions(study: Study, wanted: ImportSettings, reading: Reading) -> Iterator[str]:
    stored = {target.name: target.direction for target in study.targets}
    for target in reading.targets:
        name = wanted.rename_targets.get(target.name, target.name)
        if target.stated and name in stored and stored[name] != target.direction:
            yield f"target {name!r} is to {target.direction} in the source, and to {stored[name]} in the study"
