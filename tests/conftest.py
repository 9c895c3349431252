"""What every test shares: shapes checked while the mathematics is tested, and swarm folders to read.

The public tables of proxy runs are not part of this project. Tests on them look for ``../shared/data`` beside the
checkout, or where MIXWRIGHT_PUBLIC_TABLES points, and skip when they are not there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import config, install_import_hook

import tests.shape_checks  # noqa: F401  # the hook finds its checker as an attribute of the package

# Before anything imports mixers: from here on a wrong shape or type in its annotations is an error.
install_import_hook("mixers", "tests.shape_checks.check")

# The service, the pages and the demo call the same mathematics by the minute; checking every call of theirs makes
# their tests several times slower and finds what the tests of the mathematics found.
_UNCHECKED = ("app", "dashboard", "acceptance")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and all that they start would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, and as slowly as the machine is.
settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

_CHECKOUT = Path(__file__).resolve().parent.parent
_TABLES = Path(os.environ.get("MIXWRIGHT_PUBLIC_TABLES") or _CHECKOUT.parent / "shared" / "data")


@pytest.fixture(autouse=True, scope="module")
def _shapes_checked(request: pytest.FixtureRequest) -> Iterator[None]:
    folder = request.path.relative_to(_CHECKOUT / "tests").parts[0]
    config.update("jaxtyping_disable", folder in _UNCHECKED)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return _CHECKOUT


@pytest.fixture
def public_table() -> Callable[[str], Path]:
    """The folder of a named public table; skips the test where the tables are not at hand."""

    def find(name: str) -> Path:
        folder = _TABLES / name
        if not (folder / "runs.csv").is_file():
            pytest.skip(f"the public table {name} is not at hand (MIXWRIGHT_PUBLIC_TABLES names the folder of them)")
        return folder

    return find
