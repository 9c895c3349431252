"""Outcomes on disk until the service has them: written whole before they are sent, removed once they are taken.

What could not be delivered waits for the next try, also of another process that is given the same folder. A report
names the server that it belongs to, so that it never goes to another one.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from pydantic import ValidationError

from proxy_training.errors import LeaseLost, Refused
from proxy_training.service_client import ReportedResult, ServiceClient
from proxy_training.spec import ProxyResult, Record
from proxy_training.whole_files import remove_parts, write_whole
from proxy_training.work import Outcome

_SUFFIX = ".json"
_REFUSED_SUFFIX = ".refused"
_PART_SECONDS = 60.0
_WRONG_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

log = logging.getLogger(__name__)


class Report(Record):
    """The outcome of one attempt: a result, or the reason why there is none."""

    server: str
    run_id: str
    attempt: int
    result: ProxyResult | None = None
    reason: str = ""
    retry: bool = True

    @classmethod
    def of(cls, server: str, run_id: str, attempt: int, outcome: Outcome) -> Report:
        """The report about ``outcome``."""
        if isinstance(outcome, ProxyResult):
            return cls(server=server, run_id=run_id, attempt=attempt, result=outcome)
        return cls(server=server, run_id=run_id, attempt=attempt, reason=outcome.reason, retry=outcome.retry)


class Spool:
    """The reports of one folder.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unwritten: dict[Path, Report] = {}
        folder.mkdir(parents=True, exist_ok=True)
        remove_parts(folder, _PART_SECONDS, time.time())

    def add(self, report: Report) -> None:
        """Keep ``report`` until it is delivered; in memory, as long as this process lives, when the disk is full."""
        text = report.model_dump_json().encode()
        try:
            write_whole(self._path(report), lambda file: file.write(text))
        except OSError as error:
            log.error("A report cannot be kept on disk: %s", error, extra={"event": "spool_failed"})
            self._unwritten[self._path(report)] = report

    def reports(self, server: str) -> Iterator[Report]:
        """What waits for ``server``, oldest first. A file that is no report is set aside and named in the log."""
        yield from [report for report in list(self._unwritten.values()) if report.server == server]
        for path in sorted(self.folder.glob(f"*{_SUFFIX}"), key=_age):
            try:
                report = Report.model_validate_json(path.read_bytes())
            except FileNotFoundError:
                continue  # another agent has delivered it
            except ValidationError:
                log.warning("%s is no report", path, extra={"event": "report_unreadable"})
                path.replace(path.with_suffix(_REFUSED_SUFFIX))
                continue
            if report.server == server:
                yield report

    def deliver(self, report: Report, client: ServiceClient) -> bool:
        """Send ``report`` and forget it. Returns whether the service took it.

        A run that the service gave to another attempt, or does not know any more, is not worth keeping; a report
        that is refused for another reason is set aside for a person to look at.

        Raises:
            Unreachable, Refused: the service is not there, or does not know our key; the report stays.
        """
        try:
            if report.result is not None:
                client.complete(report.run_id, report.attempt, report.result)
            else:
                client.fail(report.run_id, report.attempt, report.reason, report.retry)
        except LeaseLost as lost:
            log.warning("Run %s was lost: %s", report.run_id, lost, extra={"event": "report_late"})
            taken = False
        except Refused as refusal:
            if refusal.status in _WRONG_KEY:
                raise
            log.error("Run %s was refused: %s", report.run_id, refusal, extra={"event": "report_refused"})
            if refusal.status != HTTPStatus.NOT_FOUND:
                self._set_aside(report)
            taken = False
        else:
            taken = True
        self._forget(report)
        return taken

    def deliver_results(self, reports: Sequence[Report], client: ServiceClient) -> set[str]:
        """Send the results of several runs in one call and forget them. Returns the runs that the service took.

        Raises:
            Unreachable, Refused: the service is not there, or takes not all of them as they are; the reports stay.
        """
        results = [
            ReportedResult(run_id=report.run_id, attempt=report.attempt, result=report.result)
            for report in reports
            if report.result is not None
        ]
        lost = set(client.complete_many(results))
        for report in reports:
            if report.run_id in lost:
                log.warning("Run %s was lost", report.run_id, extra={"event": "report_late"})
            self._forget(report)
        return {report.run_id for report in reports} - lost

    def _forget(self, report: Report) -> None:
        self._unwritten.pop(self._path(report), None)
        self._path(report).unlink(missing_ok=True)

    def _path(self, report: Report) -> Path:
        # Ids come from the network: whatever they hold, the file stays in this folder.
        name = re.sub(r"[^A-Za-z0-9-]", "_", report.run_id)
        return self.folder / f"{name}.{report.attempt}{_SUFFIX}"

    def _set_aside(self, report: Report) -> None:
        path = self._path(report)
        if path.exists():
            path.replace(path.with_suffix(_REFUSED_SUFFIX))


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
