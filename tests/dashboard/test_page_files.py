"""Pages, modules and Plotly's bundle as a browser gets them; no browser needed."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from app.dashboard import pages
from app.dashboard.plotly_bundle import bundle_path, bundle_version
from tests.dashboard.conftest import Service

STATIC = Path(pages.__file__).parent / "static"
TEMPLATES = Path(pages.__file__).parent / "templates"
MODULES = sorted(STATIC.glob("*.js"))


def test_pages_carry_the_strict_policy_and_no_script_or_style_of_their_own(service: Service) -> None:
    for path in ("/", f"/studies/{service.seeded['study']}"):
        response = service.api.get(path)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe-eval" not in policy
        assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", response.text) == []
        assert re.findall(r"\son\w+=|javascript:", response.text) == []
        assert re.findall(r"(?:src|href)=\"(?:https?:)?//", response.text) == []
        assert response.headers["cache-control"] == "no-store"


def test_a_study_identifier_in_the_address_is_escaped(service: Service) -> None:
    response = service.api.get("/studies/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E".replace("%2F", "_"))
    assert "<script>alert" not in response.text
    assert "&lt;script&gt;alert(1)" in response.text


def test_plotly_comes_out_of_the_wheel_is_kept_for_ever_and_compressed(service: Service) -> None:
    path = bundle_path()
    assert path is not None
    address = f"/plotly/{bundle_version()}/plotly.min.js"
    plain = service.api.get(address, headers={"Accept-Encoding": "identity"})
    assert plain.content == path.read_bytes()
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["content-type"].startswith("text/javascript")
    with service.api.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["content-encoding"] == "gzip"
        packed = b"".join(response.iter_raw())
    assert gzip.decompress(packed) == path.read_bytes()
    assert len(packed) < len(plain.content) / 2
    assert address in service.api.get("/").text


def test_another_version_of_plotly_is_not_found(service: Service) -> None:
    response = service.api.get("/plotly/0.0.1/plotly.min.js")
    assert response.status_code == 404
    assert bundle_version() in response.json()["detail"]


def test_modules_are_revalidated_so_that_an_update_is_seen(service: Service) -> None:
    first = service.api.get("/static/study_page.js")
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"].startswith(("text/javascript", "application/javascript"))
    again = service.api.get("/static/study_page.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_imports_only_files_that_exist_and_never_writes_markup(module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    for imported in re.findall(r'from "\./([^"]+)"', source):
        assert (STATIC / imported).is_file(), imported
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", source) == []
    assert re.findall(r"https?://", source) == []


def test_files_of_the_dashboard_are_shipped_with_the_package() -> None:
    assert all(path.is_file() for folder in (STATIC, TEMPLATES) for path in folder.iterdir()), (
        "package data of the project names files of these folders, not folders in them"
    )
