"""The page of a study in a real browser, on real data: what it shows is what the API says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dashboard.conftest import Service, Watched, watched_page
from tests.dashboard.seeding import NAMES, create_study, queue, train

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


@pytest.fixture(scope="module")
def shown(service: Service, context: Any) -> Iterator[Watched]:
    """The study's page with every chart drawn, loaded once for the tests that only read it."""
    with watched_page(context) as window:
        page = open_study(service, window)
        for section in ("predicted", "verification", "trajectory"):
            page.wait_for_selector(f"#{section} .plot .scatterlayer .point")
        page.wait_for_selector("#weights .plot .bars .point")
        yield window


def open_study(service: Service, seen: Watched, study: str = "", query: str = "") -> Any:
    seen.page.goto(f"{service.url}/studies/{study or service.seeded['study']}{query}")
    seen.page.wait_for_selector("#data table")
    return seen.page


def rows(page: Any, section: str, nth: int = 0) -> list[list[str]]:
    """The cells of a table, as a reader sees them."""
    body = page.locator(f"#{section} table").nth(nth).locator("tbody tr")
    return [[cell.strip() for cell in row.locator("th, td").all_inner_texts()] for row in body.all()]


def test_weights_are_those_of_the_recommendation_with_epochs_and_caps(service: Service, shown: Watched) -> None:
    page = shown.page
    read = service.api.get(f"/v1/recommendations/{service.seeded['recommendation']}").json()
    shown = rows(page, "weights")
    assert [row[0] for row in shown] == list(NAMES)
    for row, wanted in zip(shown, read["weights"], strict=True):
        assert abs(float(row[1].removesuffix(" %")) / 100 - wanted["prior"]) < 6e-4
        assert abs(float(row[2].removesuffix(" %")) / 100 - wanted["weight"]) < 6e-4
        assert abs(float(row[4]) - wanted["epochs"]) < 6e-3
        cap = f"{100 * wanted['max_weight']:.1f} %" if wanted["max_weight"] < 1 else "no cap"
        assert row[5].split("\n")[0].startswith(cap)
    assert page.locator("#weights .plot .bars .point").count() == 2 * len(NAMES)
    assert "2.5 epochs of each domain in 10k training tokens" in page.locator("#weights").inner_text()


def test_fidelity_names_the_chosen_law_and_the_reason(service: Service, shown: Watched) -> None:
    page = shown.page
    fit = service.api.get(f"/v1/fits/{service.seeded['fit']}").json()
    text = page.locator("#fidelity").inner_text()
    assert f"Chosen: {fit['chosen_law']}" in text
    assert fit["reason"] in text
    by_law = {row[0].split()[0]: row for row in rows(page, "fidelity")}
    for law in fit["fidelity"]:
        shown = float(by_law[law["law"]][2].replace("−", "-"))
        assert abs(shown - law["objective_mae"]) < 6e-5
    assert page.locator("#fidelity tr.chosen").inner_text().split()[0] == fit["chosen_law"]


def test_predicted_chart_has_a_point_a_run_and_the_measures_of_the_fit(service: Service, shown: Watched) -> None:
    page = shown.page
    fit = service.api.get(f"/v1/fits/{service.seeded['fit']}").json()
    law = next(law for law in fit["fidelity"] if law["law"] == fit["chosen_law"])
    assert page.locator("#predicted .plot .scatterlayer .point").count() == fit["runs_used"] == 22
    measures = dict(zip(*(page.locator(f"#predicted dl {tag}").all_inner_texts() for tag in ("dt", "dd")), strict=True))
    assert abs(float(measures["Spearman"]) - law["objective_spearman"]) < 6e-4
    assert abs(float(measures["MAE"]) - law["objective_mae"]) < 6e-5


def test_law_and_target_are_chosen_in_the_page_and_kept_in_the_address(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    page.get_by_label("Law", exact=True).select_option("regmix_linear")
    page.get_by_label("Target", exact=True).select_option("web")
    page.wait_for_url(re.compile(r"law=regmix_linear&target=web"))
    fit = service.api.get(f"/v1/fits/{service.seeded['fit']}").json()
    law = next(law for law in fit["fidelity"] if law["law"] == "regmix_linear")
    wanted = next(target for target in law["targets"] if target["target"] == "web")
    shown = f"{wanted['mae']:.4f}"
    expect(page.locator("#predicted dd").nth(1)).to_have_text(shown)
    page.reload()
    expect(page.locator("#predicted dd").nth(1)).to_have_text(shown)
    assert page.get_by_label("Law", exact=True).input_value() == "regmix_linear"
    assert page.get_by_label("Target", exact=True).input_value() == "web"


def test_verification_shows_measured_beside_predicted_and_the_verdict(service: Service, shown: Watched) -> None:
    page = shown.page
    read = service.api.get(f"/v1/recommendations/{service.seeded['recommendation']}/verification").json()
    shown = {row[0]: row for row in rows(page, "verification")}
    for arm in read["arms"]:
        row = shown[arm["name"]]
        assert row[1] == "3 of 3"
        assert row[2] == f"{arm['mean']:.4f} ± {arm['stderr']:.4f}"
        assert row[3].startswith(f"{arm['predicted']['mean']:.4f} [")
    text = page.locator("#verification .verdicts").inner_text()
    for contrast in read["contrasts"]:
        assert re.search(rf"{contrast['verdict']} against {contrast['baseline']}", text)


def test_runs_are_counted_by_state_filtered_and_paged(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    page.wait_for_selector("#runs tbody tr")
    assert page.locator("#runs .filter").all_inner_texts() == ["all 33", "✓ succeeded 31", "✕ failed 2"]
    first = [row[0] for row in rows(page, "runs")]
    assert len(first) == 15
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#runs tbody th").first).to_have_text("run 15")
    assert "cursor=" in page.url
    page.reload()
    expect(page.locator("#runs tbody th").first).to_have_text("run 15")
    page.get_by_role("button", name="First").click()
    expect(page.locator("#runs tbody th").first).to_have_text("run 00")
    page.get_by_role("button", name="failed 2").click()
    expect(page.locator("#runs tbody tr")).to_have_count(2)
    assert all("the loss became infinite" in row[-2] for row in rows(page, "runs"))
    assert "state=failed" in page.url


def test_search_finds_runs_beyond_the_page_that_is_shown(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    page.get_by_label("Search").fill("uniform, seed")
    expect(page.locator("#runs tbody tr")).to_have_count(3)
    assert [row[0] for row in rows(page, "runs")] == [f"uniform, seed {seed}" for seed in (1, 2, 3)]
    assert page.evaluate("document.activeElement.type") == "search"  # typing goes on


def test_a_chosen_run_shows_its_losses_over_tokens(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    page.get_by_role("button", name="run 05", exact=True).click()
    expect(page.locator("#trajectory .run strong")).to_have_text("run 05")
    page.wait_for_selector("#trajectory .plot .scatterlayer .point")
    assert page.locator("#trajectory .plot .scatterlayer .trace").count() == 3  # objective, code, web
    run = re.search(r"run=([0-9a-f-]+)", page.url)
    assert run is not None
    read = service.api.get(f"/v1/runs/{run[1]}").json()
    assert rows(page, "trajectory", 1)[0][:2] == ["code", f"{read['losses']['code']['value']:.4f}"]


def test_data_shows_tokens_source_and_licence(shown: Watched) -> None:
    page = shown.page
    assert rows(page, "data")[0] == ["code", "5k", "50.0 %", "programs of the example", "MIT"]
    assert rows(page, "data")[2] == ["web", "2k", "20.0 %", "not given", "not given"]


@pytest.mark.slow
def test_what_changes_while_runs_wait_appears_without_a_reload(service: Service, seen: Watched) -> None:
    study = create_study(service.api)
    waiting = queue(service.api, study, 3)
    page = open_study(service, seen, study)
    page.get_by_role("button", name="queued 3").wait_for()
    expect(page.locator("#live")).to_contain_text("live")
    service.api.post(f"/v1/runs/{waiting[0]['id']}/cancel")
    page.get_by_role("button", name="cancelled 1").wait_for()
    train(service.api, 2)
    page.get_by_role("button", name="succeeded 2").wait_for()
    expect(page.locator("#live")).to_contain_text("as of")


def test_everything_comes_from_this_service(service: Service, shown: Watched) -> None:
    assert len(shown.requested) > 20
    assert [url for url in shown.requested if not url.startswith((service.url, "data:", "blob:"))] == []


def test_the_page_is_used_by_keyboard_alone(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#fidelity button.link", has_text="regmix_linear").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#predicted .plot")).to_have_attribute("aria-label", re.compile("under regmix_linear"))
    assert page.evaluate("document.activeElement.textContent") == "regmix_linear"
