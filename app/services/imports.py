"""Take runs that were trained elsewhere into a study, and say what became of each.

Reading comes first and takes as long as it takes; what it found is stored in one transaction, all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import Conflict, InvalidRequest, NotFound, TrackerUnavailable
from app.formats.errors import FormatError
from app.formats.imports import IMPORTS
from app.formats.imports.base import ImportFormat, Options, Reading, Source
from app.formats.imports.files import Upload, gather
from app.formats.imports.trackers import TrackerFailed, Trackers
from app.ids import new_id
from app.models import Import, Study
from app.schemas.common import Page
from app.schemas.imports import ImportFormatRead, ImportFormats, ImportReport, ImportSettings, StudyImport
from app.services.access import check_study, check_unbound
from app.services.domain_versions import names_of
from app.services.events import record
from app.services.import_check import Check
from app.services.import_report import report_of, summarise
from app.services.import_rows import Axes, Comparison, Packed, compare, pack, replace, store
from app.services.import_study import study_of
from app.services.pages import page
from app.services.studies import add_study, find_study
from app.settings import Settings


def trackers_of(settings: Settings) -> Trackers:
    """The trackers that this server may ask, with its credentials for them."""
    token, key = settings.mlflow_tracking_token, settings.wandb_api_key
    return Trackers(
        settings.import_hosts,
        "" if token is None else token.get_secret_value(),
        "" if key is None else key.get_secret_value(),
    )


@contextmanager
def source_of(uploads: Iterable[Upload], settings: Settings) -> Iterator[Source]:
    """The uploads as files while the context lasts; without any, the trackers alone.

    Raises:
        FormatError: a name or an archive that is not accepted.
    """
    with TemporaryDirectory(prefix="mixwright-import-") as folder:
        try:
            given = list(uploads)
            files = gather(given, Path(folder), settings.max_import_bytes) if given else {}
            yield Source(files, trackers_of(settings))
        except FormatError as error:  # readers name the file as it lies here, which tells the caller nothing
            raise FormatError(str(error).replace(f"{folder}/", "")) from None


def run_import(
    database: Database, study_id: UUID | None, wanted: ImportSettings, source: Source, now: datetime
) -> ImportReport:
    """Import into a study, or into a new one when ``study_id`` is None and ``wanted`` describes it.

    Raises:
        InvalidRequest: an unknown format or option, a source that makes no study, or ``strict`` and a wrong run.
        FormatError: naming file, line and column of what is wrong in the source.
        TrackerUnavailable: a tracker does not answer.
        Conflict: the study changed while the source was read.
    """
    chosen, options = _format(wanted)
    _check_takes(chosen, source)
    with database.read() as session:
        if study_id is None:
            check_unbound(session, "create a study")
        else:
            find_study(session, study_id)
    try:
        reading = chosen.read(source, options)
        if study_id is None:
            return _into_new_study(database, wanted, reading, now)
        return _into_study(database, study_id, wanted, reading, now)
    except TrackerFailed as error:
        raise TrackerUnavailable(str(error)) from error


def _format(wanted: ImportSettings) -> tuple[ImportFormat[Options], Options]:
    chosen = IMPORTS.get(wanted.format)
    if chosen is None:
        raise InvalidRequest.of("format", f"there is no import format {wanted.format!r}", ", ".join(IMPORTS))
    try:
        return chosen, chosen.options.model_validate(wanted.options)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        field = ".".join(["options", *map(str, wrong["loc"])])
        accepted = ", ".join(chosen.options.model_fields) or f"{wanted.format} has no options"
        raise InvalidRequest.of(field, wrong["msg"][:1].lower() + wrong["msg"][1:], accepted) from None


def _check_takes(chosen: ImportFormat[Options], source: Source) -> None:
    if chosen.takes == "files" and not source.files:
        raise InvalidRequest.of("files", f"{chosen.name} is read from files, and none was sent", "parts named 'files'")
    if chosen.takes == "network" and source.files:
        raise InvalidRequest.of("files", f"{chosen.name} is asked over the network", "settings alone, as a JSON body")


def _into_study(
    database: Database, study_id: UUID, wanted: ImportSettings, reading: Reading, now: datetime
) -> ImportReport:
    with database.read() as session:
        study = find_study(session, study_id)
        version, axes = study.domain_set.id, _axes(study)
    check = Check(axes.domains, axes.targets, wanted)
    check.take(reading.runs)
    runs = list(check.runs.values())
    # Others wait for their turn to write: all that can be known before is found out before.
    with database.read() as session:
        study = find_study(session, study_id)
        found = compare(session, study, axes, runs)
        summary = summarise(session, study, wanted, reading, check)
        if wanted.dry_run:
            return report_of(wanted, reading, check, summary, found, study_id, None, now)
    rest = [run for run in runs if run.external_id not in found.same]
    packed = pack(axes, found.new)
    with database.write() as session:
        study = find_study(session, study_id, for_update=True)
        if study.domain_set.id != version or _axes(study) != axes:
            raise Conflict("the domains or targets of the study changed while the source was read; import it again")
        late = compare(session, study, axes, rest)
        late.same |= found.same
        key = new_id(now)
        report = report_of(wanted, reading, check, summary, late, study_id, key, now)
        _store(session, study, wanted.update, axes, late, packed, report, now)
    return report


def _into_new_study(database: Database, wanted: ImportSettings, reading: Reading, now: datetime) -> ImportReport:
    if not isinstance(wanted, StudyImport):
        raise InvalidRequest.of("name", "is missing", "the name of the study to make")
    body = study_of(wanted, reading)
    axes = Axes(tuple(domain.name for domain in body.domains), tuple(target.name for target in body.targets))
    check = Check(axes.domains, axes.targets, wanted)
    check.take(reading.runs)
    found = Comparison(new=list(check.runs.values()))
    if not found.new:
        reasons = ", ".join(f"{each.count} {each.reason}: {each.detail}" for each in check.tally.skipped()[:3])
        raise InvalidRequest.of("source", f"no run of it can be taken ({reasons})", "at least one finished run")
    with database.read() as session:
        summary = summarise(session, None, wanted, reading, check)
    if wanted.dry_run:
        return report_of(wanted, reading, check, summary, found, None, None, now)
    packed = pack(axes, found.new)
    with database.write() as session:
        study, key = add_study(session, body, now), new_id(now)
        session.flush()
        report = report_of(wanted, reading, check, summary, found, study.id, key, now)
        _store(session, study, False, axes, found, packed, report, now)
    return report


def _axes(study: Study) -> Axes:
    return Axes(tuple(names_of(study.domain_set)), tuple(target.name for target in study.targets))


def _store(
    session: Session,
    study: Study,
    update: bool,
    axes: Axes,
    found: Comparison,
    packed: Mapping[str, Packed],
    report: ImportReport,
    now: datetime,
) -> None:
    """Everything of one import, in one transaction."""
    assert report.id is not None
    row = Import(
        id=report.id,
        study_id=study.id,
        format=report.format,
        source=report.source,
        report=report.model_dump(mode="json"),
        created_at=now,
    )
    session.add(row)
    store(session, study, axes, found.new, packed, row.id, now)
    changes = [*found.more_measured, *(found.differing if update else ())]
    replace(session, study, axes, changes, row.id)
    for change in changes:
        told = {"before": change.before}
        record(session, "run.replaced", now, study_id=study.id, subject_id=change.run_id, data=told)
    skipped = sum(each.count for each in report.skipped)
    counts = {"taken": report.taken, "updated": report.updated, "skipped": skipped}
    told = {"format": report.format, "source": report.source} | counts
    record(session, "import.done", now, study_id=study.id, subject_id=row.id, data=told)
    session.commit()


def list_formats() -> ImportFormats:
    """The formats that runs can be taken from, and their options."""
    items = [
        ImportFormatRead(name=each.name, title=each.title, options=each.options.model_json_schema())
        for each in IMPORTS.values()
    ]
    return ImportFormats(items=items)


def get_import(session: Session, import_id: UUID) -> ImportReport:
    """The report of an import.

    Raises:
        NotFound: there is none with this identifier.
    """
    found = session.get(Import, import_id)
    if found is None:
        raise NotFound(f"there is no import {import_id}")
    check_study(session, found.study_id, f"import {import_id}")
    return ImportReport.model_validate(found.report)


def list_imports(session: Session, study_id: UUID, limit: int, cursor: str | None) -> Page[ImportReport]:
    """The imports of a study, newest first."""
    find_study(session, study_id)
    rows = select(Import).where(Import.study_id == study_id)
    return page(session, rows, Import.id, limit, cursor, _reports, newest_first=True)


def _reports(found: Sequence[Import]) -> list[ImportReport]:
    return [ImportReport.model_validate(each.report) for each in found]
