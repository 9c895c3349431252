"""Names that mean harm are shown as they are on every page: no element, no dialog, no script comes of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dashboard.conftest import Service, Watched
from tests.dashboard.seeding import work

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

# Each would set window.hacked when a browser took it as markup.
SCRIPT = "<script>window.hacked=1</script>"
IMAGE = '"><img src=x onerror="window.hacked=1">'
LINK = '<a href="javascript:window.hacked=1">x</a>'
SQL = "Robert'); DROP TABLE runs;--"
EMOJI = "🔬 🧪 données"
RIGHT_TO_LEFT = "مزيج البيانات"
EVERY = f"{IMAGE}{SQL}{EMOJI}{RIGHT_TO_LEFT}"


@pytest.fixture(scope="module")
def hostile(service: Service) -> str:
    """A study whose every name means harm, with runs, a fit and a recommendation; also an agent, a schedule, a key."""
    api = service.api
    study = _made(api.post("/v1/studies", json=_study()))
    domains = api.get(f"/v1/studies/{study}").json()["domain_set"]["id"]
    paths = {name: [f"/data/{SCRIPT}"] for name in (IMAGE, LINK, RIGHT_TO_LEFT)}
    api.put(f"/v1/domain-sets/{domains}/bindings/megatron", json={"paths": paths}).raise_for_status()
    runs = [_run(i) for i in range(12)]
    api.post(f"/v1/studies/{study}/runs", json={"runs": runs}).raise_for_status()
    fit = _made(api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean", "regmix_linear"]}))
    work(service.settings)
    _made(api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": fit}))
    work(service.settings)
    _made(api.post("/v1/agents", json={"name": EVERY, "hostname": IMAGE, "device": LINK}))
    body = {"name": EVERY, "kind": "refit", "cron": "30 2 * * *"}
    schedule = _made(api.post(f"/v1/studies/{study}/schedules", json=body))
    api.post(f"/v1/schedules/{schedule}/fire").raise_for_status()
    _made(api.post("/v1/keys", json={"name": EVERY, "scopes": ["read"], "study_id": study}))
    return study


def _study() -> dict[str, Any]:
    return {
        "name": EVERY,
        "description": IMAGE,
        "domains": [
            {"name": IMAGE, "available_tokens": 10, "source": SCRIPT, "licence": LINK},
            {"name": LINK, "available_tokens": 30},
            {"name": RIGHT_TO_LEFT, "available_tokens": 20},
        ],
        "targets": [{"name": SCRIPT, "unit": IMAGE}, {"name": SQL}, {"name": EMOJI}],
        "constraints": {"target_tokens": 40, "max_epochs": 2.0},
    }


def _run(i: int) -> dict[str, Any]:
    a, b = (i + 1) / 20, ((5 * i) % 12 + 1) / 40
    return {
        "weights": {IMAGE: a, LINK: 1 - a - b, RIGHT_TO_LEFT: b},
        "label": f"{IMAGE}{i}",
        "purpose": "<i>",
        "losses": {SCRIPT: a * a + b, SQL: 1 - a, EMOJI: 2 - b},
    }


def _made(answer: Any) -> str:
    assert answer.is_success, answer.text
    return answer.json()["id"]


@pytest.mark.parametrize(
    ("path", "ready", "shows"),
    [
        ("/", "#studies table", EVERY),
        ("/studies/{study}", "#what-if tbody tr", EVERY),
        ("/studies/{study}?search=%3Cimg&against=uniform&target=%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E",
         "#predicted .plot .scatterlayer .point", f"{IMAGE}0"),
        ("/studies/{study}/imports?format=%3Cimg", "#past .about", EVERY),
        ("/studies/{study}/schedules", "#firings table", EVERY),
        ("/studies/{study}/events?kind=%3Cimg", "#events .about", EVERY),
        ("/studies/{study}/events", "#events table", EVERY),
        ("/events", "#events table", EVERY),
        ("/agents", "#agents table", EVERY),
        ("/keys", "#keys table", EVERY),
    ],
    ids=lambda value: value if value.startswith("/") else "",
)  # fmt: skip
def test_names_are_text_on_every_page(
    service: Service, seen: Watched, hostile: str, path: str, ready: str, shows: str
) -> None:
    page, dialogs = seen.page, []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(service.url + path.format(study=hostile))
    page.wait_for_selector(ready)
    page.wait_for_function("text => document.body.textContent.includes(text)", arg=shows)
    assert page.locator("main img, main a[href^='javascript'], main script, .plot a, main i, main b").count() == 0
    assert page.evaluate("window.hacked") is None
    assert dialogs == []


def test_a_sentence_of_the_api_about_a_hostile_name_is_text(service: Service, seen: Watched, hostile: str) -> None:
    seen.page.goto(f"{service.url}/studies/{hostile}?target=%3Cimg%20src%3Dx%3E")
    seen.page.locator("#predicted .notice.bad").get_by_text("<img src=x>").wait_for()
    assert seen.page.locator("#predicted img").count() == 0
    seen.errors.clear()  # Chromium reports a refusal as an error of its own
