"""Imports through the API: what is stored, what is reported, and that importing twice changes nothing."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import func, select

from app.db import Database
from app.errors import TrackerUnavailable
from app.formats.imports.base import Source
from app.formats.imports.trackers import Trackers
from app.main import create_app
from app.models import Import, Run, Study
from app.schemas.imports import ImportSettings
from app.services.imports import run_import, trackers_of
from app.settings import Settings
from tests.app.conftest import BEARER, LOCAL, StandingClock
from tests.app.study_bodies import claim, create_study, get_run, queue_runs, register

HEADER = "run_id,model_params,train_tokens,w:code,w:law,w:web,loss:code,loss:web\n"
TWO = HEADER + "a,1000000,1000000000,0.5,0.3,0.2,2.0,3.0\nb,1000000,1000000000,0.2,0.3,0.5,2.5,2.5\n"
Files = Mapping[str, str | bytes]


def send(api: TestClient, address: str, files: Files, **settings: Any) -> httpx.Response:
    parts = [("files", (name, content)) for name, content in files.items()]
    return api.post(address, data={"settings": json.dumps(settings)}, files=parts)  # type: ignore[return-value]


def import_into(api: TestClient, study: str, text: str, **settings: Any) -> dict[str, Any]:
    settings = {"format": "swarm-folder"} | settings
    response = send(api, f"/v1/studies/{study}/imports", {"runs.csv": text}, **settings)
    assert response.status_code == 201, response.text
    return response.json()


def runs_of(api: TestClient, study: str) -> list[dict[str, Any]]:
    return api.get(f"/v1/studies/{study}/runs").json()["items"]


def test_imported_runs_are_measured_runs_of_the_study(api: TestClient) -> None:
    study = create_study(api)
    report = import_into(api, study, TWO)
    assert (report["taken"], report["runs_read"], report["skipped"]) == (2, 2, [])
    first = runs_of(api, study)[0]
    assert (first["state"], first["source"], first["weights"]) == (
        "succeeded",
        "imported",
        {"code": 0.5, "law": 0.3, "web": 0.2},
    )
    assert first["losses"] == {"code": {"value": 2.0, "stderr": None}, "web": {"value": 3.0, "stderr": None}}
    assert (first["model_params"], first["train_tokens"]) == (1_000_000, 1_000_000_000)
    assert api.get(f"/v1/studies/{study}").json()["run_counts"]["succeeded"] == 2


def test_a_run_that_agents_still_train_is_not_replaced(api: TestClient) -> None:
    study = create_study(api)
    queue_runs(api, study, 1, external_id="a")
    assert len(claim(api, register(api))) == 1
    before = runs_of(api, study)
    report = import_into(api, study, TWO, update=True)
    assert (report["taken"], report["updated"], report["runs_read"]) == (1, 0, 2)
    assert [(each["reason"], each["detail"]) for each in report["skipped"]] == [
        ("not_finished", "the study's run is leased")
    ]
    assert [run for run in runs_of(api, study) if run["external_id"] == "a"] == before


def test_importing_twice_changes_nothing(api: TestClient) -> None:
    study = create_study(api)
    import_into(api, study, TWO)
    before = runs_of(api, study)
    again = import_into(api, study, TWO, update=True)
    assert (again["taken"], again["updated"], again["already_there"]) == (0, 0, 2)
    assert runs_of(api, study) == before


def test_a_run_that_differs_is_left_unless_it_may_be_replaced(api: TestClient) -> None:
    study = create_study(api)
    import_into(api, study, TWO)
    changed = TWO.replace("2.5,2.5", "9.5,2.5")
    report = import_into(api, study, changed)
    assert report["differs"] == {"count": 1, "first_ids": ["b"]}
    assert any("id_prefix" in hint for hint in report["hints"])
    assert runs_of(api, study)[1]["losses"]["code"]["value"] == 2.5
    report = import_into(api, study, changed, update=True)
    assert (report["updated"], report["differs"]["count"], report["already_there"]) == (1, 0, 1)
    assert runs_of(api, study)[1]["losses"]["code"]["value"] == 9.5
    assert len(runs_of(api, study)) == 2
    events = api.get(f"/v1/studies/{study}/events").json()["items"]
    replaced = [event for event in events if event["kind"] == "run.replaced"]
    assert [event["data"]["before"]["losses"]["code"]["value"] for event in replaced] == [2.5]


def test_a_prefix_keeps_equal_ids_of_two_sources_apart(api: TestClient) -> None:
    study = create_study(api)
    import_into(api, study, TWO, id_prefix="1m-")
    assert import_into(api, study, TWO, id_prefix="60m-")["taken"] == 2


def test_a_dry_run_tells_the_same_and_stores_nothing(api: TestClient, database: Database) -> None:
    study = create_study(api)
    dry = import_into(api, study, TWO, dry_run=True)
    assert (dry["taken"], dry["id"], dry["dry_run"]) == (2, None, True)
    assert runs_of(api, study) == []
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Import)) == 0
    made = send(api, "/v1/imports", {"runs.csv": TWO}, format="swarm-folder", name="n", dry_run=True)
    assert made.json()["taken"] == 2
    assert made.json()["study_id"] is None
    assert len(api.get("/v1/studies").json()["items"]) == 1
    wet = import_into(api, study, TWO)
    different = {"id", "dry_run"}
    assert {k: v for k, v in wet.items() if k not in different} == {k: v for k, v in dry.items() if k not in different}


def test_sums_are_mended_warned_of_or_refused_by_how_far_they_are_off(api: TestClient) -> None:
    study = create_study(api)
    text = HEADER + "".join(
        f"{name},1e6,1e9,{share},0.3,0.2,2,3\n"
        for name, share in (("exact", 0.5), ("rounded", 0.497), ("off", 0.53), ("wrong", 0.8), ("hundred", 99.5))
    )
    report = import_into(api, study, text)
    assert report["taken"] == 3
    assert report["renormalised"]["count"] == 2
    assert report["renormalised"]["worst_sum"] == pytest.approx(1.03)
    assert report["renormalised"]["worst_id"] == "off"
    assert report["renormalised"]["warned"] == {"count": 1, "first_ids": ["off"]}
    (skipped,) = report["skipped"]
    assert (skipped["reason"], skipped["count"], skipped["first_ids"]) == ("wrong_weights", 2, ["wrong", "hundred"])
    assert "runs.csv, line 5" in skipped["detail"]
    assert "sum to 1.3" in skipped["detail"]
    stored = {run["label"] or i: sum(run["weights"].values()) for i, run in enumerate(runs_of(api, study))}
    assert all(total == pytest.approx(1, abs=1e-12) for total in stored.values())
    refused = send(
        api, f"/v1/studies/{study}/imports", {"runs.csv": text}, format="swarm-folder", strict=True, id_prefix="s-"
    )
    assert refused.status_code == 422
    assert "run 's-wrong' cannot be taken" in refused.json()["detail"]
    assert len(runs_of(api, study)) == 3


def test_the_report_names_strangers_gaps_duplicates_and_suspects(api: TestClient) -> None:
    study = create_study(api)
    text = (
        "run_id,model_params,w:code,w:law,w:web,w:maths,loss:code,loss:web,loss:poems\n"
        "a,10,0.5,0.3,0.2,0,2,inf,1\n"
        "b,10,0.5,0.3,0.2,0,2,,1\n"
        "b,10,0.5,0.3,0.2,0,2,,1\n"
        "c,10,0.5,0.3,0.1,0.1,2,3,1\n"
        "d,10,0.5,0.3,0.2,0,,,1\n"
        "e,10,0.5,0.3,0.2,0,2,-3,1\n"
        "f,10,0.5,0.3,0.2,0,2,3,1\n"
        "f,10,0.5,0.3,0.2,0,2,4,1\n"
        "g,10,0.5,0.3,nan,0,2,3,1\n"
    )
    report = import_into(api, study, text)
    assert report["taken"] == 3
    assert report["runs_read"] == 7
    assert report["unknown_domains"] == ["maths"]
    assert report["unknown_targets"] == ["poems"]
    assert report["missing_metrics"] == {"web": 2}
    assert report["duplicates"] == {"count": 1, "first_ids": ["b"]}
    assert {(each["reason"], *each["first_ids"]) for each in report["skipped"]} == {
        ("unknown_domain", "c"),
        ("no_metrics", "d"),
        ("contradicts", "f"),
        ("wrong_weights", "g"),
    }
    assert {(each["kind"], each["target"], each["count"]) for each in report["suspicious"]} == {
        ("not_finite", "web", 1),
        ("constant", "code", 3),
        ("negative_loss", "web", 1),
    }
    assert report["scales"] == [{"model_params": 10, "train_tokens": None, "runs": 3}]
    assert any("millions or billions" in hint for hint in report["hints"])
    assert any("no run tells train_tokens" in hint for hint in report["hints"])


def test_names_sizes_and_missing_scales_can_be_given(api: TestClient) -> None:
    study = create_study(api)
    text = "run_id,w:CODE,w:law,loss:Web\na,0.4,0.6,2.5\n"
    renames = {"rename_domains": {"CODE": "code"}, "rename_targets": {"Web": "web"}}
    import_into(api, study, text, model_params=5_000_000, train_tokens=10**9, **renames)
    (run,) = runs_of(api, study)
    assert run["weights"] == {"code": 0.4, "law": 0.6, "web": 0.0}
    assert (run["losses"]["web"]["value"], run["model_params"]) == (2.5, 5_000_000)


def test_unfinished_runs_of_a_tracker_are_counted_by_their_state(api: TestClient) -> None:
    study = create_study(api)
    export = [
        {"id": f"r{i}", "name": "n", "state": state, "config": {"w": {"code": 1.0}}, "summary": {"web": 2.0 + i}}
        for i, state in enumerate(["finished", "crashed", "crashed", "running"])
    ]
    options = {"weights_prefix": "w."}
    response = send(
        api, f"/v1/studies/{study}/imports", {"x.json": json.dumps(export)}, format="wandb", options=options
    )
    report = response.json()
    assert report["taken"] == 1
    assert {(each["reason"], each["detail"], each["count"]) for each in report["skipped"]} == {
        ("not_finished", "crashed", 2),
        ("not_finished", "running", 1),
    }
    export[1]["state"] = "finished"
    again = send(
        api, f"/v1/studies/{study}/imports", {"x.json": json.dumps(export)}, format="wandb", options=options
    ).json()
    assert (again["taken"], again["already_there"]) == (1, 1)


def test_a_study_is_made_from_a_folder_in_a_zip(api: TestClient) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("swarm/runs.csv", TWO)
        domains = "domain,available_tokens,max_weight,mean_document_tokens\nweb,5000,,700\ncode,3000,0.6,\nlaw,2000,,\n"
        archive.writestr("swarm/domains.csv", domains)
        archive.writestr(
            "swarm/targets.csv", "target,unit,direction,weight\ncode,bits_per_byte,minimize,3\nweb,share,maximize,1\n"
        )
    made = send(api, "/v1/imports", {"s.zip": buffer.getvalue()}, format="swarm-folder", name="from a zip", create=True)
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"/v1/imports/{made.json()['id']}"
    study = api.get(f"/v1/studies/{made.json()['study_id']}").json()
    assert [domain["name"] for domain in study["domain_set"]["domains"]] == ["web", "code", "law"]
    assert study["domain_set"]["domains"][0]["prior"] == 0.5
    assert [domain["mean_document_tokens"] for domain in study["domain_set"]["domains"]] == [700, None, None]
    assert study["constraints"]["max_weights"] == {"code": 0.6}
    assert [(t["name"], t["unit"], t["direction"], t["weight"]) for t in study["targets"]] == [
        ("code", "bits_per_byte", "minimize", 3.0),
        ("web", "share", "maximize", 1.0),
    ]
    assert study["run_counts"]["succeeded"] == 2
    kinds = {event["kind"] for event in api.get(f"/v1/studies/{study['id']}/events").json()["items"]}
    assert {"study.created", "import.done"} <= kinds


def test_no_study_is_made_when_its_runs_cannot_be_stored(
    settings: Settings, clock: StandingClock, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("app.services.imports.store", fail)
    with TestClient(
        create_app(settings, clock), base_url=LOCAL, headers=BEARER, raise_server_exceptions=False
    ) as client:
        assert send(client, "/v1/imports", {"runs.csv": TWO}, format="swarm-folder", name="n").status_code == 500
    with database.read() as session:
        assert [session.scalar(select(func.count()).select_from(table)) for table in (Study, Run, Import)] == [0, 0, 0]


def test_results_of_an_evaluation_are_added_to_stored_runs(api: TestClient) -> None:
    targets = [{"name": "code"}, {"name": "web"}, {"name": "arc/acc", "direction": "maximize"}]
    study = create_study(api, targets=targets)
    import_into(api, study, TWO)
    (queued,) = queue_runs(api, study, 1)

    def results(value: float) -> str:
        measured = {"acc,none": value, "acc_stderr,none": 0.02}
        return json.dumps({"results": {"arc": measured}, "higher_is_better": {"arc": {"acc": True}}})

    def evaluate(value: float, *runs: str, **settings: Any) -> dict[str, Any]:
        files = {f"{run}/results.json": results(value) for run in runs}
        return send(api, f"/v1/studies/{study}/imports", files, format="lm-eval", **settings).json()

    report = evaluate(0.4, "a", "stranger", queued["id"])
    assert report["taken"] == 1
    assert {(each["reason"], *each["first_ids"]) for each in report["skipped"]} == {
        ("not_in_study", "stranger"),
        ("not_finished", queued["id"]),
    }
    run = next(run for run in runs_of(api, study) if (run["losses"] or {}).get("code", {}).get("value") == 2.0)
    assert run["losses"]["arc/acc"] == {"value": 0.4, "stderr": 0.02}
    assert run["losses"]["code"]["value"] == 2.0
    assert evaluate(0.4, "a")["already_there"] == 1
    assert evaluate(0.5, run["id"])["differs"]["count"] == 1
    assert evaluate(0.5, run["id"], update=True)["updated"] == 1
    assert get_run(api, run["id"])["losses"]["arc/acc"]["value"] == 0.5


def test_the_report_is_kept_and_listed(api: TestClient, clock: StandingClock) -> None:
    study = create_study(api)
    reports = []
    for i in range(3):
        clock.advance(1)
        reports.append(import_into(api, study, TWO, id_prefix=f"{i}-"))
    read = api.get(f"/v1/imports/{reports[0]['id']}")
    assert read.json() == reports[0]
    again = api.get(f"/v1/imports/{reports[0]['id']}", headers={"If-None-Match": read.headers["etag"]})
    assert again.status_code == 304
    page = api.get(f"/v1/studies/{study}/imports", params={"limit": 2}).json()
    assert [item["id"] for item in page["items"]] == [reports[2]["id"], reports[1]["id"]]
    rest = api.get(f"/v1/studies/{study}/imports", params={"cursor": page["next_cursor"]}).json()
    assert [item["id"] for item in rest["items"]] == [reports[0]["id"]]
    assert api.get("/v1/imports/00000000-0000-0000-0000-000000000000").status_code == 404


@pytest.mark.parametrize(
    ("wanted", "files", "complaint"),
    [
        ({"format": "excel"}, {}, "there is no import format 'excel'; accepted: swarm-folder, regmix-csv"),
        ({"format": "jsonl"}, {}, "files: jsonl is read from files"),
        ({"format": "mlflow", "options": {"url": "https://x.org"}}, {}, "options.experiment_ids: field required"),
        ({"format": "swarm-folder", "options": {"x": 1}}, {"runs.csv": TWO}, "swarm-folder has no options"),
        ({"format": "swarm-folder", "dry": True}, {"runs.csv": TWO}, "dry: extra inputs are not permitted"),
        ({"format": "swarm-folder"}, {"other.csv": TWO}, "there is no runs.csv; the files are other.csv"),
        ({"format": "swarm-folder"}, {"runs.csv": HEADER + "a,1\n"}, "runs.csv, line 2: the row has 2 cells"),
        ({"format": "swarm-folder"}, {"runs.csv": TWO, "domains.csv": "domain\ncode\n"}, "domains.csv: domain 'law'"),
        ({"format": "swarm-folder"}, {"s.zip": b"PK"}, "s.zip: the archive cannot be read"),
    ],
)
def test_a_wrong_import_is_refused_by_name(api: TestClient, wanted: Any, files: Files, complaint: str) -> None:
    study = create_study(api)
    address = f"/v1/studies/{study}/imports"
    response = send(api, address, files, **wanted) if files else api.post(address, json=wanted)
    assert response.status_code == 422, response.text
    assert complaint in response.json()["detail"]
    assert "mixwright-import" not in response.text
    assert runs_of(api, study) == []


def test_a_body_that_is_no_import_is_refused(api: TestClient) -> None:
    study = create_study(api)
    address = f"/v1/studies/{study}/imports"
    assert api.post(address, content=b"x").status_code == 422
    assert api.post(address, content=b"{", headers={"Content-Type": "application/json"}).status_code == 422
    assert api.post(address, json=[1]).status_code == 422
    broken = api.post(address, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"})
    assert broken.status_code == 422
    assert api.post(address, content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code == 422
    assert api.post(address, files=[("files", ("runs.csv", TWO))]).status_code == 422
    assert api.post(address, json={"format": "wandb", "x": "y" * 2**20}).status_code == 413


def test_weights_whose_sum_is_no_number_are_left_out(api: TestClient) -> None:
    study = create_study(api)
    told = {"run_id": "a", "mixture": {"code": 1e308, "law": 1e308}, "losses": {"code": 2.0}}
    sent = send(api, f"/v1/studies/{study}/imports", {"a.jsonl": json.dumps(told) + "\n"}, format="jsonl")
    assert sent.status_code == 201, sent.text
    assert [(each["reason"], each["detail"]) for each in sent.json()["skipped"]] == [
        ("wrong_weights", "a.jsonl, line 1: the weights sum to inf")
    ]


def test_names_that_cannot_be_shown_are_not_stored(api: TestClient) -> None:
    study = create_study(api)
    told = [
        {"run_id": name, "mixture": {"code": 1.0}, "losses": {"code": 2.0}}
        for name in ("nul\x00", "lone\ud800", "x" * 301, "", "=cmd|' /C calc'!A0")
    ]
    text = "".join(json.dumps(each) + "\n" for each in told)
    report = send(api, f"/v1/studies/{study}/imports", {"a.jsonl": text}, format="jsonl").json()
    assert report["taken"] == 1
    assert [(each["reason"], each["count"]) for each in report["skipped"]] == [("wrong_field", 4)]
    text = text.replace('"code": 1.0', '"c\\u0000": 1.0')
    made = send(api, "/v1/imports", {"a.jsonl": text}, format="jsonl", name="n")
    assert made.status_code == 422
    assert "'c\\x00', which holds U+0000" in made.json()["detail"]


def test_one_key_carries_out_one_import(api: TestClient) -> None:
    study = create_study(api)
    parts = {"data": {"settings": json.dumps({"format": "swarm-folder"})}, "headers": {"Idempotency-Key": "once"}}
    request = api.build_request("POST", f"/v1/studies/{study}/imports", files=[("files", ("runs.csv", TWO))], **parts)
    content, headers = request.read(), dict(request.headers)
    answers = [api.post(f"/v1/studies/{study}/imports", content=content, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert len(api.get(f"/v1/studies/{study}/imports").json()["items"]) == 1


def test_imports_may_be_larger_than_other_bodies(settings: Settings, clock: StandingClock, database: Database) -> None:
    small = settings.model_copy(update={"max_body_bytes": 2000, "max_import_bytes": 100_000})
    with TestClient(create_app(small, clock), base_url=LOCAL, headers=BEARER) as client:
        study = create_study(client)
        assert len(TWO * 50) > 2000
        text = HEADER + "".join(f"r{i},1e6,1e9,0.5,0.3,0.2,2,{i}\n" for i in range(200))
        assert import_into(client, study, text)["taken"] == 200
        response = send(client, f"/v1/studies/{study}/imports", {"runs.csv": "x" * 200_000}, format="swarm-folder")
        assert response.status_code == 413


def mlflow_trackers(answer: Callable[[httpx.Request], httpx.Response]) -> Source:
    return Source({}, Trackers(("https://mlflow.test",), transport=httpx.MockTransport(answer)))


def test_a_tracker_is_imported_from_without_a_request(
    api: TestClient, database: Database, clock: StandingClock
) -> None:
    study = create_study(api)
    run = {
        "info": {"run_id": "m1", "status": "FINISHED"},
        "data": {"metrics": [{"key": "code", "value": 2.0}], "params": [{"key": "weights.code", "value": "1"}]},
    }
    options = {"url": "https://mlflow.test", "experiment_ids": ["7"]}
    wanted = ImportSettings(format="mlflow", options=options)
    source = mlflow_trackers(lambda _: httpx.Response(200, json={"runs": [run]}))
    key = UUID(study)
    for taken, there in ((1, 0), (0, 1)):
        report = run_import(database, key, wanted, source, clock())
        assert (report.taken, report.already_there) == (taken, there)
    broken = mlflow_trackers(lambda _: httpx.Response(500))
    with pytest.raises(TrackerUnavailable, match=r"mlflow\.test answered 500"):
        run_import(database, key, wanted, broken, clock())


def test_trackers_come_from_the_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trackers_of(settings).allowed == ()
    monkeypatch.setenv("MIXWRIGHT_IMPORT_HOSTS", "mlflow.example.org, http://10.0.0.5:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    made = Settings(api_key=SecretStr("x"))
    assert trackers_of(made).allowed == ("mlflow.example.org", "http://10.0.0.5:5000")
    assert trackers_of(made).mlflow_token == "secret"
    assert "secret" not in repr(made)
    monkeypatch.setenv("MIXWRIGHT_IMPORT_HOSTS", "ftp://x")
    with pytest.raises(ValueError, match="accepted: https://HOST"):
        Settings()


def test_every_format_tells_its_options(api: TestClient) -> None:
    items = {item["name"]: item for item in api.get("/v1/import-formats").json()["items"]}
    assert set(items) == {"swarm-folder", "regmix-csv", "olmix-csv", "jsonl", "wandb", "mlflow", "lm-eval"}
    assert "experiment_ids" in items["mlflow"]["options"]["required"]


def test_imported_public_runs_are_counted_exactly(api: TestClient, public_table: Callable[[str], Path]) -> None:
    folder = public_table("regmix_pile")
    files = {name: (folder / name).read_bytes() for name in ("runs.csv", "domains.csv", "targets.csv")}
    report = send(api, "/v1/imports", files, format="swarm-folder", name="RegMix").json()
    assert (report["taken"], report["renormalised"]["count"], report["scale_count"]) == (896, 508, 2)
    assert report["renormalised"]["worst_sum"] == pytest.approx(0.996)
