"""The real application on a free port of the loopback, and an installed Chromium that looks at it.

Without Chromium (Debian's package ``chromium``) the tests that need it skip, with the reason.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from app.main import create_app
from app.migrate import upgrade
from app.settings import Settings
from tests.dashboard.seeding import fill
from tests.waiting import PATIENCE_SECONDS, soon

KEY = "the-key-of-the-dashboard"
FLAGS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@dataclass
class Service:
    """A running application: its address, its settings and a client of its API."""

    url: str
    settings: Settings
    api: httpx.Client
    cookie: dict[str, Any]
    seeded: dict[str, Any] = field(default_factory=dict)


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """The application under Uvicorn in a thread, until the block is left."""
    settings = Settings(data_dir=folder, workers=0, api_key=SecretStr(KEY))
    upgrade(settings)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        # Both ends close what idles for 5 s: a test that has waited must not send into a connection that just went.
        fresh = httpx.Limits(max_keepalive_connections=0)
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_SECONDS, limits=fresh) as api:
            assert soon(lambda: _answers(api)), "the application does not answer"
            yield Service(url, settings, api, _log_in(url))
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)


def _log_in(url: str) -> dict[str, Any]:
    """The cookie of a login with the key, as a browser's context takes it."""
    answer = httpx.post(f"{url}/login", data={"key": KEY})
    ((name, value),) = answer.cookies.items()
    return {"name": name, "value": value, "url": url, "httpOnly": True, "sameSite": "Strict"}


def _answers(api: httpx.Client) -> bool:
    try:
        return api.get("/healthz").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An application with one verified study."""
    with running(tmp_path_factory.mktemp("service")) as made:
        made.seeded = fill(made.api, made.settings)
        yield made


@pytest.fixture
def fresh_service(tmp_path: Path, context: Any) -> Iterator[Service]:
    """An application without any study."""
    with running(tmp_path) as made:
        context.add_cookies([made.cookie])
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        playwright.expect.set_options(timeout=1000 * PATIENCE_SECONDS)
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=1000 * PATIENCE_SECONDS)
        yield chromium
        chromium.close()


@dataclass
class Watched:
    """A page and everything that went wrong in it."""

    page: Any
    errors: list[str]
    requested: list[str]

    def violations(self) -> list[str]:
        """What the content security policy stopped."""
        return self.page.evaluate("window.violations")


@contextmanager
def watched(browser: Any, service: Service | None = None, **options: Any) -> Iterator[Watched]:
    """A page of its own context that records console errors, failures and policy violations.

    ``service`` is one that its reader is logged in to.
    """
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    if service is not None:
        context.add_cookies([service.cookie])
    yield _watch(context.new_page())
    context.close()


def _watch(page: Any) -> Watched:
    errors: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.add_init_script(
        "window.violations = []; document.addEventListener('securitypolicyviolation', "
        "(event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));"
    )
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    return Watched(page, errors, requested)


@pytest.fixture(scope="session")
def context(browser: Any, service: Service) -> Iterator[Any]:
    """Logged in, and shared by the tests, so that Plotly's bundle is compiled once."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    made.add_cookies([service.cookie])
    yield made
    made.close()


@contextmanager
def watched_page(context: Any) -> Iterator[Watched]:
    """A page in which nothing may go wrong: no console error, no violation of the content security policy."""
    window = _watch(context.new_page())
    yield window
    violations = window.violations()
    window.page.close()
    assert window.errors == []
    assert violations == []


@pytest.fixture
def seen(context: Any) -> Iterator[Watched]:
    """A page of one test in which nothing may go wrong."""
    with watched_page(context) as window:
        yield window
