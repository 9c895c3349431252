"""Reports survive until they are delivered, to the service that they are for, and never half written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_training import spool as spool_module
from proxy_training.errors import Refused, Unreachable
from proxy_training.service_client import ServiceClient
from proxy_training.spec import Measured, ProxyResult
from proxy_training.spool import Report, Spool
from proxy_training.work import Failure
from tests.proxy_training.fake_service import FakeService
from tests.proxy_training.text_corpora import names_in
from tests.proxy_training.training_cases import made_up_run

RESULT = ProxyResult(status="succeeded", train_tokens=64, losses={"a": Measured(value=2.5, stderr=0.1)})


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService([made_up_run()], api_key="secret")
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def client(service: FakeService) -> Iterator[ServiceClient]:
    with ServiceClient(service.url, "secret") as client:
        yield client


def claimed(client: ServiceClient) -> tuple[str, int]:
    run = client.claim(client.register("a", "b", "c"), 1, ["corpus"], 30)[0]
    return run.run_id, run.attempt


def test_a_report_is_sent_once_and_forgotten(tmp_path: Path, service: FakeService, client: ServiceClient) -> None:
    spool = Spool(tmp_path)
    spool.add(Report.of(client.server, *claimed(client), RESULT))
    (report,) = spool.reports(client.server)
    assert spool.deliver(report, client)
    assert next(iter(service.runs.values())).completions == 1
    assert names_in(tmp_path) == []


def test_a_failure_is_reported_with_its_reason(tmp_path: Path, service: FakeService, client: ServiceClient) -> None:
    spool = Spool(tmp_path)
    spool.add(Report.of(client.server, *claimed(client), Failure("the disk broke", retry=False)))
    for report in spool.reports(client.server):
        assert spool.deliver(report, client)
    run = next(iter(service.runs.values()))
    assert (run.state, run.reason) == ("failed", "the disk broke")


def test_a_report_waits_while_the_service_is_away(tmp_path: Path, service: FakeService, client: ServiceClient) -> None:
    spool = Spool(tmp_path)
    spool.add(Report.of(client.server, *claimed(client), RESULT))
    service.stop()
    (report,) = spool.reports(client.server)
    with pytest.raises(Unreachable, match="cannot be reached"):
        spool.deliver(report, client)
    service.start()
    (report,) = Spool(tmp_path).reports(client.server)  # another process
    assert spool.deliver(report, client)


def test_a_late_report_is_dropped(tmp_path: Path, service: FakeService, client: ServiceClient) -> None:
    run_id, attempt = claimed(client)
    service.take_away(run_id)
    spool = Spool(tmp_path)
    spool.add(Report.of(client.server, run_id, attempt, RESULT))
    (report,) = spool.reports(client.server)
    assert not spool.deliver(report, client)
    assert service.runs[run_id].completions == 0
    assert names_in(tmp_path) == []


def test_a_refused_report_is_set_aside_for_a_person(
    tmp_path: Path, service: FakeService, client: ServiceClient
) -> None:
    run_id, attempt = claimed(client)
    service.answer_next["complete"] = [422]
    spool = Spool(tmp_path)
    spool.add(Report.of(client.server, run_id, attempt, RESULT))
    (report,) = spool.reports(client.server)
    assert not spool.deliver(report, client)
    assert names_in(tmp_path) == [f"{run_id}.{attempt}.refused"]
    assert list(spool.reports(client.server)) == []


def test_a_wrong_key_keeps_the_report(tmp_path: Path, service: FakeService, client: ServiceClient) -> None:
    run_id, attempt = claimed(client)
    spool = Spool(tmp_path)
    spool.add(Report.of(client.server, run_id, attempt, RESULT))
    with ServiceClient(service.url, "wrong") as stranger, pytest.raises(Refused, match="does not know the key"):
        spool.deliver(next(iter(spool.reports(client.server))), stranger)
    assert names_in(tmp_path) == [f"{run_id}.{attempt}.json"]


def test_reports_for_another_service_stay(tmp_path: Path, client: ServiceClient) -> None:
    spool = Spool(tmp_path)
    spool.add(Report.of("http://elsewhere:1", "run", 1, RESULT))
    assert list(spool.reports(client.server)) == []
    assert [report.run_id for report in spool.reports("http://elsewhere:1")] == ["run"]


def test_a_full_disk_loses_nothing_while_the_process_lives(
    tmp_path: Path, service: FakeService, client: ServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_module, "write_whole", full)
    spool = Spool(tmp_path)
    spool.add(Report.of(client.server, *claimed(client), RESULT))
    for report in spool.reports(client.server):
        assert spool.deliver(report, client)
    assert service.states() == ["succeeded"]
    assert list(spool.reports(client.server)) == []


def test_a_file_that_is_no_report_is_set_aside(tmp_path: Path, client: ServiceClient) -> None:
    (tmp_path / "x.1.json").write_text('{"server": ')
    spool = Spool(tmp_path)
    assert list(spool.reports(client.server)) == []
    assert names_in(tmp_path) == ["x.1.refused"]


def test_a_run_id_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.add(Report.of("http://h:1", "../../escape", 1, RESULT))
    assert names_in(tmp_path) == ["spool"]
    assert [report.run_id for report in spool.reports("http://h:1")] == ["../../escape"]
