"""What a reader does with a recommendation: understand, compare, adopt, export it, and ask what else would be."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlparse

import pytest

from tests.dashboard.conftest import Service, Watched
from tests.dashboard.seeding import NAMES
from tests.dashboard.test_study_page import open_study, rows

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


def _number(shown: str) -> float:
    return float(shown.split()[0].replace("−", "-").replace("+", ""))


def test_gains_and_changes_are_those_of_the_api(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    page.wait_for_selector("#changes table")
    recommendation = f"/v1/recommendations/{service.seeded['recommendation']}"
    details = service.api.get(recommendation).json()["details"]
    gains = {row[0]: _number(row[1]) for row in rows(page, "reasons")}
    wanted = {name.replace("_", " "): gain["objective"]["mean"] for name, gain in details["gains"].items()}
    assert gains == pytest.approx(wanted, abs=6e-5)
    assert "No constraint holds a weight" in page.locator("#reasons").inner_text()
    page.get_by_label("Against", exact=True).select_option("uniform")
    diff = service.api.get(f"{recommendation}/diff", params={"against": "uniform"}).json()
    share = page.locator("#changes p strong").first
    expect(share).to_have_text(f"{100 * diff['share_moved']:.1f} %")
    assert "against=uniform" in page.url
    shown = {row[0]: _number(row[3]) for row in rows(page, "changes")}
    assert shown == pytest.approx({row["domain"]: 100 * row["change"] for row in diff["domains"]}, abs=0.06)


def test_adopted_weights_are_those_that_pipelines_read(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    for mixture in ("best measured", "recommended"):
        page.get_by_role("button", name=f"Adopt {mixture}").click()
        page.get_by_role("button", name=re.compile("adopt\\?")).click()
        page.locator("#weights").get_by_text(f"✓ adopted: {mixture}").wait_for()
        page.locator("#weights").get_by_text(
            f"Training pipelines read the {mixture} mixture: it was asked for"
        ).wait_for()
        adopted = service.api.get(f"/v1/studies/{service.seeded['study']}/weights").json()
        assert adopted["recommendation_id"] == service.seeded["recommendation"]
        assert adopted["mixture"] == mixture.replace(" ", "_")


def test_an_export_shows_notes_and_epochs_and_downloads_the_files(service: Service, seen: Watched) -> None:
    page = open_study(service, seen, query="?export=levanter")
    page.get_by_label("batch size").fill("8")
    page.get_by_label("sequence length").fill("128")
    page.get_by_role("button", name="Write the files").click()
    page.wait_for_selector("#exports a.download")
    path = f"/v1/recommendations/{service.seeded['recommendation']}/exports/levanter"
    made = service.api.get(path, params={"batch_size": 8, "sequence_length": 128}).json()
    assert page.locator("#exports pre.file").first.text_content() == made["files"][0]["text"]
    assert page.locator("#exports .notes li").all_inner_texts() == made["notes"]
    shown = {row[0]: row[1] for row in rows(page, "exports")}
    assert shown == {name: f"{passes:.2f}" for name, passes in made["epochs"].items()}
    with page.expect_download() as download:
        page.locator("#exports a.download").click()
    assert download.value.path().read_text(encoding="utf-8") == made["files"][0]["text"]


def test_a_missing_binding_of_an_export_is_said_in_the_words_of_the_api(service: Service, seen: Watched) -> None:
    page = open_study(service, seen, query="?export=megatron")
    page.get_by_role("button", name="Write the files").click()
    page.locator("#exports .refusal").get_by_text("bind").wait_for()
    seen.errors.clear()  # Chromium reports a refusal as an error of its own


def test_sliders_keep_the_simplex_and_ask_the_law_and_the_address_keeps_them(service: Service, seen: Watched) -> None:
    page = open_study(service, seen)
    page.wait_for_selector("#what-if table")
    page.get_by_role("button", name="prior", exact=True).click()
    page.get_by_label("Keep the weight of law").click()
    page.get_by_role("slider", name="Weight of web").fill("0.4")
    expect(page.locator("#what-if output")).to_have_text(["30.0 %", "30.0 %", "40.0 %"])
    hidden = page.locator("#what-if table").evaluate("e => e.scrollWidth - e.parentElement.clientWidth")
    assert hidden <= 0, "a baseline to compare with stands outside of the section"
    weights = dict(zip(NAMES, (0.3, 0.3, 0.4), strict=True))
    read = service.api.post(f"/v1/fits/{service.seeded['fit']}/predictions", json={"weights": [weights]}).json()
    objective = read["predictions"][0]["objective"]
    shown = f"{objective['mean']:.4f} [{objective['low']:.4f}, {objective['high']:.4f}]"
    expect(page.locator("#what-if tbody tr").first.locator("td").first).to_have_text(shown)
    assert parse_qs(urlparse(page.url).query)["whatif"] == ["1~0.3~0.3l~0.4"]
    page.reload()
    expect(page.locator("#what-if output")).to_have_text(["30.0 %", "30.0 %", "40.0 %"])
    assert page.get_by_role("slider", name="Weight of law").is_disabled()
    page.get_by_role("slider", name="Weight of code").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#what-if output").first).to_have_text("30.1 %")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Weight of code"


def test_weights_of_a_link_about_other_domains_are_refused_in_words(service: Service, seen: Watched) -> None:
    page = open_study(service, seen, query="?whatif=2~0.5~0.5")
    page.get_by_text("The weights of this link are about other domains").wait_for()


def test_moving_a_weight_never_leaves_the_simplex(service: Service, seen: Watched) -> None:
    """Random walks of the function that the sliders call, in the browser that runs it."""
    seen.page.goto(service.url)
    walks = seen.page.evaluate("""async () => {
        const { moved } = await import("/static/simplex.js");
        let state = 1;
        const random = () => (state = (state * 16807) % 2147483647) / 2147483647;
        const walks = [];
        for (let walk = 0; walk < 50; walk += 1) {
            const k = 2 + Math.floor(random() * 8);
            let weights = Array(k).fill(1 / k);
            const locked = weights.map(() => random() < 0.3);
            const held = weights.filter((_, i) => locked[i]);
            for (let step = 0; step < 40; step += 1) {
                weights = moved(weights, locked, Math.floor(random() * k), [0, 1, random()][step % 3]);
            }
            walks.push({ weights, held, kept: weights.filter((_, i) => locked[i]) });
        }
        return walks;
    }""")
    assert len(walks) == 50
    for walk in walks:
        assert abs(sum(walk["weights"]) - 1) < 1e-9
        assert min(walk["weights"]) >= -1e-12
        assert walk["kept"] == walk["held"]
    assert len({json.dumps(walk["weights"]) for walk in walks}) > 25
