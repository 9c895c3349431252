"""A mixture from a folder to a trainer by commands alone, against a real ``mixwright serve``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.cli import run
from app.client import Client
from app.local_key import ADMIN_KEY_FILE, local_key
from app.online.study_sources import study_body
from app.schemas.events import EventQuery
from app.schemas.studies import StudyPatch
from proxy_training.spec import ModelSpec
from tests.app.swarm_tables import DOMAINS, write_rows, write_swarm

ROOT = Path(__file__).resolve().parents[3]
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, data folder) of a running service."""
    folder = tmp_path_factory.mktemp("service")
    log = folder / "serve.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXWRIGHT_")}
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment | {"OMP_NUM_THREADS": "1"}, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"Mixwright is at (http://\S+) ", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield found.group(1), folder / "data"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def _here(service: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is that of this machine: its address and its data folder are in the environment."""
    monkeypatch.setenv("MIXWRIGHT_URL", service[0])
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(service[1]))


@pytest.mark.usefixtures("_here")
def test_commands_alone_lead_from_a_folder_to_a_trainer(tmp_path: Path, answer: Ask) -> None:
    swarm = write_swarm(tmp_path / "swarm")
    study = answer("study", "create", swarm, "--name", "walk")
    assert [domain["name"] for domain in study["domain_set"]["domains"]] == list(DOMAINS)
    assert answer("study", "list", "--name", "WALK")["items"][0]["id"] == study["id"]
    assert answer("study", "show", study["id"][-8:])["name"] == "walk"

    report = answer("runs", "import", "walk", "swarm-folder", swarm)
    assert (report["taken"], report["skipped"]) == (24, [])
    assert answer("runs", "import", "walk", "swarm-folder", swarm)["already_there"] == 24
    runs = answer("runs", "list", "walk", "--state", "succeeded", "--limit", "3")
    assert ([each["external_id"] for each in runs["items"]], runs["more"]) == (["r0", "r1", "r2"], True)

    fit = answer("fit", "walk", "--laws", "mean,log_linear", "--wait")
    assert (fit["state"], fit["runs_used"], fit["chosen_law"]) == ("succeeded", 24, "log_linear")
    assert answer("fits", "compare", fit["id"])["chosen_law"] == "log_linear"

    made = answer("recommend", "walk", "--max", "code=0.4", "--target-tokens", "1e9", "--max-epochs", "4")
    assert made["state"] == "succeeded"
    weights = {one["domain"]: one["weight"] for one in made["weights"]}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["code"] <= 0.4 + 1e-9
    assert made["constraints"]["max_weights"] == {"code": 0.4}
    assert made["constraints"]["target_tokens"] == 10**9

    adopted = answer("study", "adopt", made["id"])
    assert adopted["weights"] == pytest.approx(weights)
    assert answer("study", "weights", "walk") == adopted
    exported = answer("export", "walk", "json", "--to", tmp_path / "out")
    (name,) = [file["name"] for file in exported["files"]]
    written = json.loads((tmp_path / "out" / name).read_text())
    assert exported["recommendation_id"] == made["id"]
    assert str(made["id"]) in json.dumps(written)
    kinds = [event["kind"] for event in answer("events", "--study", "walk")["items"]]
    assert kinds[0] == "study.created"
    assert "recommendation.adopted" in kinds

    every = answer("fit", "walk", "--laws", "mean", "--points", "all")
    assert (every["runs"]["points"], every["runs_used"], every["points"]["used"]) == ("all", 24, 24)


@pytest.mark.usefixtures("_here")
def test_a_trainer_gets_the_paths_that_were_bound(tmp_path: Path, answer: Ask) -> None:
    swarm = write_swarm(tmp_path / "bound")
    answer("study", "create", swarm, "--runs")
    answer("fit", "bound", "--laws", "mean,log_linear", "--wait")
    answer("recommend", "bound")
    rows = [{"domain": name, "path": f"/data/{name}"} for name in DOMAINS]
    bound = answer("study", "bind", "bound", "megatron", write_rows(tmp_path / "domains.csv", rows))
    assert bound["paths"] == {name: [f"/data/{name}"] for name in DOMAINS}
    exported = answer("export", "bound", "megatron")
    blend = json.loads(exported["files"][0]["text"])["train"]
    assert set(blend[1::2]) <= {f"/data/{name}" for name in DOMAINS}

    plan = [
        {"from_token": 0, "to_token": 10**9, "weights": dict.fromkeys(DOMAINS, 1 / len(DOMAINS))},
        {"from_token": 10**9, "to_token": 2 * 10**9, "weights": {DOMAINS[0]: 1.0}},
    ]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    judged = answer("recommend", "bound", "--stages", tmp_path / "plan.json")
    assert [stage["to_token"] for stage in judged["stages"]] == [10**9, 2 * 10**9]
    assert judged["weights"][0]["weight"] == pytest.approx((1 / len(DOMAINS) + 1) / 2)


@pytest.mark.usefixtures("_here")
def test_what_is_planned_can_be_paused_fired_and_removed(
    tmp_path: Path, answer: Ask, refusal: Callable[..., str]
) -> None:
    answer("study", "create", write_swarm(tmp_path / "planned"), "--runs")
    settings = ("--setting", 'fit={"laws": ["mean"]}', "--setting", "recommend=false")
    when = ("30 2 * * *", "--time-zone", "Europe/Berlin", "--paused")
    made = answer("schedule", "add", "planned", "refit", *when, *settings)
    assert made["settings"]["fit"]["laws"] == ["mean"]
    assert (made["enabled"], made["next_firings"]) == (False, [])
    assert answer("schedule", "show", made["id"]) == answer("schedule", "show", made["id"][-8:]) == made
    assert len(answer("schedule", "resume", "refit")["next_firings"]) == 5
    assert answer("schedule", "pause", "refit")["enabled"] is False
    fired = answer("schedule", "fire", "refit")
    assert [each["id"] for each in answer("schedule", "history", "refit")["items"]] == [fired["id"]]
    another = answer("schedule", "add", "planned", "refit", *when, *settings)
    both = f"2 schedules are named 'refit'; name one by its id: {made['id']}, {another['id']}"
    assert both in refusal("schedule", "fire", "refit")
    assert answer("schedule", "remove", another["id"])["id"] == another["id"]
    assert answer("schedule", "remove", "refit")["id"] == made["id"]
    assert "there is no schedule 'refit'; give its name, its id" in refusal("schedule", "show", "refit")
    assert answer("schedule", "list", "planned")["items"] == []


@pytest.mark.usefixtures("_here")
def test_reports_name_the_unit_of_losses_and_what_the_objective_is_made_of(
    tmp_path: Path, answer: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = [{"target": "news", "unit": "nats_per_token"}, {"target": "sql", "unit": "bits_per_byte"}]
    answer("study", "create", write_swarm(tmp_path / "units", targets=targets), "--runs")
    fit = answer("fit", "units", "--laws", "mean,log_linear", "--wait")["id"]
    made = answer("recommend", "units", "--fit", fit)["id"]
    mean = "the weighted mean of the targets in their own, mixed units (nats per token, bits per byte)"
    for command in (["fits", "show", fit], ["fits", "compare", fit], ["recommendations", "show", made]):
        assert run(command) == 0
        assert mean in " ".join(capsys.readouterr().out.split())
    assert run(["recommendations", "show", made]) == 0
    assert re.search(r"│ news +│ nats per token +│", capsys.readouterr().out)

    shared = [{"target": name, "unit": "bits_per_byte"} for name in ("news", "sql")]
    answer("study", "create", write_swarm(tmp_path / "shared", targets=shared), "--runs")
    fit = answer("fit", "shared", "--laws", "mean,log_linear", "--wait")["id"]
    made = answer("recommend", "shared", "--fit", fit)["id"]
    assert run(["recommendations", "show", made]) == 0
    assert "Predicted objective (bits per byte), lower is better" in capsys.readouterr().out
    assert run(["recommendations", "diff", made]) == 0
    assert "Predicted gain in the objective (bits per byte): " in capsys.readouterr().out


def test_events_are_followed_as_they_happen(service: tuple[str, Path], tmp_path: Path) -> None:
    with Client(service[0], local_key(service[1])) as client:
        made = client.create_study(study_body(write_swarm(tmp_path / "followed"), None, None))
        newest = client.list_events(EventQuery(limit=1)).items[0]
        with closing(client.events(made.id, after=newest.key)) as events:
            client.change_study(made.id, StudyPatch(description="changed"))
            seen = next(events)
    assert (seen.kind, seen.subject_id) == ("study.changed", made.id)


@pytest.mark.usefixtures("_here")
def test_runs_are_queued_cancelled_and_tried_again(tmp_path: Path, answer: Ask, refusal: Ask) -> None:
    answer("study", "create", write_swarm(tmp_path / "queue"))
    settings = tmp_path / "settings.json"
    settings.write_text('{"corpus_hash": "c", "train_tokens": 131072}')
    queued = answer("runs", "queue", "queue", "--settings", settings, "--count", "2", "--train-seed", "1")["runs"]
    assert [(each["state"], each["seed"]) for each in queued] == [("queued", 1)] * 2
    first, second = (each["id"] for each in queued)
    assert answer("runs", "cancel", first, second)["items"][1]["state"] == "cancelled"
    assert answer("runs", "retry", first)["items"][0]["state"] == "queued"
    assert answer("runs", "exclude", first)["items"][0]["exclude_from_fit"] is True
    assert answer("runs", "cancel-queued", "queue") == {"cancelled": 1}
    larger = answer("runs", "queue", "queue", "--settings", settings, "--count", "1", "--model", "0.2M")["runs"]
    assert larger[0]["model_params"] == ModelSpec.model_validate({"preset": "0.2M"}).non_embedding_params
    wrong = refusal("runs", "queue", "queue", "--settings", settings, "--count", "1", "--model", "0.3M")
    assert f"{settings}, model: there is no preset '0.3M'; there are 0.03M, 0.2M, 1M" in " ".join(wrong.split())
    assert "give either --count" in refusal("runs", "queue", "queue", "--settings", settings)
    settings.write_text('{"corpus_hash": "c",\n "train_tokens": }')
    assert f"{settings}, line 2, column 18: " in refusal("runs", "queue", "queue", "--settings", settings)


@pytest.mark.usefixtures("_here")
def test_what_is_queued_twice_is_named_and_skipped(
    tmp_path: Path, answer: Ask, refusal: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    answer("study", "create", write_swarm(tmp_path / "twice"))
    settings, plan = tmp_path / "settings.json", tmp_path / "turning.json"
    settings.write_text('{"corpus_hash": "nobodys", "train_tokens": 131072}')
    early, late = ({name: float(name == one) for name in DOMAINS} for one in DOMAINS[:2])
    stages = [(0, 98304, early), (98304, 131072, late)]
    plan.write_text(json.dumps([dict(zip(("from_token", "to_token", "weights"), one, strict=True)) for one in stages]))
    queue = ("runs", "queue", "twice", "--settings", settings, "--stages", plan)
    (first,) = answer(*queue)["runs"]
    assert (first["label"], first["weights"][DOMAINS[1]]) == ("turning", 0.25)
    assert [stage["weights"] for stage in first["stages"]] == [early, late]
    assert run([*map(str, queue)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Queued 0 runs in study twice. Skipped 1 that the study has already: " in said
    assert f"{first['id']} (queued). Use --repeat" in said
    assert len(answer(*queue, "--repeat")["runs"]) == len(answer(*queue, "--train-seed", "1")["runs"]) == 1
    waiting = "3 queued runs wait for an agent with the corpus nobodys: none that is alive"
    for command in (["study", "show", "twice"], ["runs", "list", "twice", "--staged"]):
        assert run(command) == 0
        assert waiting in " ".join(capsys.readouterr().out.split())
    assert answer("runs", "list", "twice", "--not-staged")["items"] == []
    assert run(["runs", "show", first["id"]]) == 0
    assert "The mixture is the mean of 2 stages" in capsys.readouterr().out
    assert "give neither --count nor --mixtures" in refusal(*queue, "--count", "3")
    plan.write_text("[]")
    assert refusal(*queue).startswith("run turning, stages: list should have at least 1 item")


@pytest.mark.usefixtures("_here")
def test_a_refusal_is_one_sentence_that_says_what_to_do(
    service: tuple[str, Path], tmp_path: Path, answer: Ask, refusal: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal("study", "show", "nobody").startswith("there is no study 'nobody'; the newest are ")
    answer("study", "create", write_swarm(tmp_path / "empty"))
    assert "has no measured run" in refusal("fit", "empty")
    assert "start one with 'mixwright serve'" in refusal("study", "list", "--url", "http://127.0.0.1:9")
    assert "write it as http://HOST:PORT" in refusal("study", "list", "--url", "here")
    wrong = tmp_path / "wrong.key"
    wrong.write_text("mw_no_key\n")
    assert f"does not accept the key of {wrong}" in refusal("study", "list", "--key-file", wrong)
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path))
    assert "needs an API key; set MIXWRIGHT_API_KEY" in refusal("study", "list")
    monkeypatch.setenv("MIXWRIGHT_API_KEY", (service[1] / ADMIN_KEY_FILE).read_text().strip())
    assert run(["study", "list"]) == 0


def test_a_key_of_another_scope_is_told_which_one_is_needed(
    service: tuple[str, Path], tmp_path: Path, refusal: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["keys", "create", "reader", "--scope", "read", "--data-dir", str(service[1])]) == 0
    key = tmp_path / "reader.key"
    key.write_text(capsys.readouterr().out)
    options = ("--url", service[0], "--key-file", str(key))
    assert run(["study", "list", *options]) == 0
    capsys.readouterr()
    swarm = write_swarm(tmp_path / "refused")
    assert "needs a key with the scope 'write'" in refusal("study", "create", swarm, *options)


@pytest.mark.usefixtures("_here")
def test_ctrl_c_leaves_the_fit_to_the_service(
    tmp_path: Path, answer: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt
        yield

    answer("study", "create", write_swarm(tmp_path / "patience"), "--runs")
    with monkeypatch.context() as patched:
        patched.setattr(Client, "watch_fit", interrupted)
        assert run(["fit", "patience", "--laws", "mean", "--wait"]) == 130
    told = re.search(r"fit (\S+) goes on in the service; look at it with: mixwright (.*)", capsys.readouterr().err)
    assert told
    assert told.group(2) == f"fits show {told.group(1)}"
    assert answer("fits", "show", told.group(1), "--wait")["state"] == "succeeded"
