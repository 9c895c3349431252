"""What a reader does with runs: find them, keep them out of fits, take them back; and what the study has spent."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from tests.dashboard.conftest import Service, Watched
from tests.dashboard.seeding import LAWS, NAMES, SETTINGS, create_study, queue, study_body, work
from tests.dashboard.test_study_page import open_study, rows

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


CORPUS = "corpus-of-this-file"  # other files train what waits for theirs


@pytest.fixture(scope="module")
def busy(service: Service) -> dict[str, Any]:
    """A study with a budget: one run failed, one was preempted and waits again, as two others do."""
    api = service.api
    study = create_study(api, name="a busy study", budget={"flops": 1e10})
    runs = queue(api, study, 4, settings=SETTINGS | {"corpus_hash": CORPUS})
    agent = api.post("/v1/agents", json={"name": "box"}).json()["id"]
    claim = {"agent_id": agent, "max_runs": 1, "corpus_hashes": [CORPUS], "lease_seconds": 3600}
    failed = api.post("/v1/runs/claim", json=claim).json()["runs"][0]
    body = {"attempt": failed["attempt"], "reason": "the loss became infinite", "retry": False}
    api.post(f"/v1/runs/{failed['run_id']}/fail", json=body).raise_for_status()
    released = api.post("/v1/runs/claim", json=claim).json()["runs"][0]
    api.post(f"/v1/runs/{released['run_id']}/release", json={"attempt": released["attempt"]}).raise_for_status()
    return {"study": study, "runs": runs, "failed": failed["run_id"], "released": released["run_id"]}


def measured(api: httpx.Client, study: str, count: int) -> None:
    """Report runs that were trained elsewhere."""
    shares = [(i + 1) / (2 * count) for i in range(count)]
    runs = [
        {"weights": {"code": a, "law": 0.2, "web": 0.8 - a}, "losses": {"code": 2 - a, "web": 1 + a * a}}
        for a in shares
    ]
    api.post(f"/v1/studies/{study}/runs", json={"runs": runs}).raise_for_status()


def test_runs_are_filtered_by_the_api_and_taken_back_and_queued_again(
    service: Service, seen: Watched, busy: dict[str, Any]
) -> None:
    page = open_study(service, seen, busy["study"], "?search=run 03")
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    cancel = page.locator("#runs").get_by_role("button", name="Cancel: run 03")
    cancel.click()
    expect(cancel).to_have_text("Really cancel?")
    cancel.click()
    page.locator("#runs").get_by_role("button", name="Retry: run 03").wait_for()
    run = busy["runs"][3]["id"]
    assert service.api.get(f"/v1/runs/{run}").json()["state"] == "cancelled"
    page.locator("#runs").get_by_role("button", name="Retry: run 03").click()
    page.locator("#runs").get_by_role("button", name="Cancel: run 03").wait_for()
    page.get_by_label("Source", exact=True).select_option("imported")
    page.get_by_text("No run fits this filter.").wait_for()
    assert "source=imported" in page.url


def test_attempts_tell_preempted_apart_from_failed(service: Service, seen: Watched, busy: dict[str, Any]) -> None:
    page = open_study(service, seen, busy["study"], f"?run={busy['released']}")
    page.locator("#trajectory summary").get_by_text("One attempt").click()
    assert "preempted" in page.locator("#trajectory details").inner_text()
    page.goto(page.url.replace(busy["released"], busy["failed"]))
    page.locator("#trajectory summary").get_by_text("One attempt").click()
    assert "failed" in page.locator("#trajectory details").inner_text()


def test_the_budget_is_a_bar_with_words(service: Service, seen: Watched, busy: dict[str, Any]) -> None:
    page = open_study(service, seen, busy["study"])
    budget = service.api.get(f"/v1/studies/{busy['study']}").json()["budget"]
    text = page.locator("#runs .limit .bar").get_attribute("aria-label")
    assert text is not None
    assert text.endswith(f"of 1.00e10 FLOPs ({100 * budget['spent_flops'] / 1e10:.1f} %).")


def test_a_run_is_kept_out_of_fits(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    page.locator("#runs").get_by_role("button", name="Exclude: run 04").click()
    page.locator("#runs").get_by_role("button", name="Include: run 04").wait_for()
    assert "not used in fits" in next(row[-2] for row in rows(page, "runs") if row[0] == "run 04")
    page.locator("#runs").get_by_role("button", name="Include: run 04").click()
    page.locator("#runs").get_by_role("button", name="Exclude: run 04").wait_for()


def test_a_fit_shows_its_progress_and_is_taken_back(service: Service, seen: Watched) -> None:
    study = create_study(service.api, name="a fit that waits")
    measured(service.api, study, 12)
    fit = service.api.post(f"/v1/studies/{study}/fits", json={"laws": LAWS}).json()["id"]
    page = open_study(service, seen, study)
    page.get_by_text("The fit waits for a worker.").wait_for()
    assert any(url.endswith(f"/v1/fits/{fit}/events") for url in seen.requested)
    work(service.settings)  # the stream says that it ended; the page does not wait for its next round
    page.locator("#fidelity tr.chosen").wait_for()
    second = service.api.post(f"/v1/studies/{study}/fits", json={"laws": LAWS}).json()["id"]
    page.goto(f"{page.url}?fit={second}")
    cancel = page.locator("#fidelity").get_by_role("button", name="Cancel: The fit")
    cancel.click()
    cancel.click()
    page.get_by_text("The fit was cancelled.").wait_for()
    assert service.api.get(f"/v1/fits/{second}").json()["state"] == "cancelled"


def test_versions_of_the_domains_tell_which_runs_are_stranded(service: Service, seen: Watched) -> None:
    api = service.api
    study = create_study(api, name="more domains")
    measured(api, study, 2)
    domains = [*study_body()["domains"], {"name": "maths", "available_tokens": 1000}]
    made = api.post(f"/v1/studies/{study}/domain-sets", json={"domains": domains}).json()
    paths = {domain["name"]: [f"/data/{domain['name']}"] for domain in domains}
    assert api.put(f"/v1/domain-sets/{made['id']}/bindings/megatron", json={"paths": paths}).status_code == 201
    page = open_study(service, seen, study)
    page.get_by_text("2 measured runs are stranded on earlier versions").wait_for()
    versions = rows(page, "data", 2)
    assert [row[:4] for row in versions] == [["2", "4", "0", "✓ enter fits"], ["1", "3", "2", "◌ stranded"]]
    assert rows(page, "data", 3)[0][:2] == ["megatron", "4 paths"]


def test_a_run_of_stages_shows_them_and_runs_that_nobody_would_claim_are_told(service: Service, seen: Watched) -> None:
    study = create_study(service.api, name="stages for nobody")
    stages = [
        {"from_token": 0, "to_token": 3072, "weights": {"code": 1}},
        {"from_token": 3072, "to_token": 4096, "weights": {"law": 0.25, "web": 0.75}},
    ]
    run = {"stages": stages, "settings": SETTINGS | {"corpus_hash": "<b>nobody's", "train_tokens": 4096}}
    made = service.api.post(f"/v1/studies/{study}/runs", json={"runs": [run]}).raise_for_status().json()["runs"][0]
    page = open_study(service, seen, study, f"?run={made['id']}")
    waiting = "1 queued run waits for an agent with the corpus <b>nobody's: none that is alive"
    expect(page.locator("#runs .notice.warn")).to_contain_text(waiting)
    expect(page.locator("#runs tbody tr td.note")).to_have_text("2 stages")
    table = page.locator("#trajectory").get_by_role("table", name="Stages of this run, in tokens")
    expect(table.locator("tbody tr")).to_have_text(["code100.0 %0.0 %", "law0.0 %25.0 %", "web0.0 %75.0 %"])


def _mixtures(count: int) -> list[list[float]]:
    return np.random.default_rng(5).dirichlet((2, 2, 2), count).tolist()


def test_losses_stand_with_their_unit_and_the_objective_says_of_what_it_is(service: Service, seen: Watched) -> None:
    targets = [
        {"name": "code", "unit": "nats_per_token"},
        {"name": "web"},
        {"name": "arc", "unit": "accuracy", "direction": "maximize"},
    ]
    study = create_study(service.api, name="three units", targets=targets)
    runs = [
        {"weights": dict(zip(NAMES, p, strict=True)), "losses": {"code": 2 - p[0], "web": 1 + p[1], "arc": p[2] / 2}}
        for p in _mixtures(12)
    ]
    service.api.post(f"/v1/studies/{study}/runs", json={"runs": runs}).raise_for_status()
    fit = service.api.post(f"/v1/studies/{study}/fits", json={"laws": LAWS}).json()["id"]
    work(service.settings)
    service.api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": fit}).raise_for_status()
    work(service.settings)
    page = open_study(service, seen, study)
    made = (
        "Objective: the weighted mean of the targets in their own, mixed units (nats per token, bits per byte, "
        "accuracy; a target to be maximised counts negative). Lower is better."
    )
    for section in ("weights", "reasons", "what-if", "fidelity", "runs"):
        expect(page.locator(f"#{section}")).to_contain_text(made)
    predicted = page.get_by_role("table", name="Predicted losses of each mixture").locator("thead th")
    units = ["Objective", "code nats per token", "web bits per byte", "arc accuracy, higher is better"]
    expect(predicted).to_have_text(["Mixture", *units])
    expect(page.locator("#what-if tbody th")).to_have_text(["objective", *units[1:]])


def test_the_unit_that_all_targets_share_is_that_of_the_objective(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    for section in ("weights", "runs", "fidelity", "verification", "reasons"):
        expect(page.locator(f"#{section} thead .unit").first).to_have_text("bits per byte")
    expect(page.locator("#runs thead th").nth(6)).to_have_text("Objective bits per byte")
    expect(page.locator("a.tile").filter(has_text="Predicted objective")).to_contain_text("bits per byte; natural")


def test_notes_and_names_of_laws_keep_their_words_on_a_narrow_page(service: Service, seen: Watched) -> None:
    seen.page.set_viewport_size({"width": 420, "height": 900})
    page = open_study(service, seen)
    page.wait_for_selector("#fidelity tr.chosen")
    heights = "rows => rows.map((row) => row.getBoundingClientRect().height)"
    assert max(page.locator("#runs tbody tr").evaluate_all(heights)) < 120
    names = page.locator("#fidelity tbody button.link")
    lines = names.evaluate_all("all => all.map((one) => one.getClientRects().length * one.offsetHeight)")
    assert max(lines) < 30, "the name of a law is broken over lines"
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_a_unit_that_was_not_given_is_no_word_on_a_chart(service: Service, seen: Watched) -> None:
    study = create_study(service.api, name="no unit", targets=[{"name": "code", "unit": "unknown"}])
    losses = [{"weights": dict(zip(NAMES, p, strict=True)), "losses": {"code": 2 - p[0]}} for p in _mixtures(12)]
    service.api.post(f"/v1/studies/{study}/runs", json={"runs": losses}).raise_for_status()
    service.api.post(f"/v1/studies/{study}/fits", json={"laws": LAWS}).raise_for_status()
    work(service.settings)
    page = open_study(service, seen, study)
    expect(page.locator("#predicted .plot .xtitle")).to_have_text("predicted")
    expect(page.locator("#runs")).to_contain_text("the weighted mean of the targets (unit not given). Lower is better.")
    for section, nth in (("trajectory", 3), ("data", 1)):
        row = page.locator(f"#{section} tbody tr").filter(has_text="not given").last
        expect(row.locator("th, td").nth(nth)).to_have_text("not given")
