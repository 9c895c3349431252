"""The first start on the loopback lets its person in; later ones make no new keys."""

from __future__ import annotations

import stat
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from app import agent_key as agents
from app.agent_key import agent_key
from app.db import Database
from app.errors import RefusedToStart
from app.first_key import ensure_admin_key, login_link
from app.key_text import read_key
from app.local_key import ADMIN_KEY_FILE, local_key
from app.models import ApiKey
from app.principal import Scope
from app.schemas.keys import KeyCreate
from app.services.keys import create_key, holder_of_key, revoke_key
from app.settings import Settings
from tests.app.conftest import StandingClock
from tests.waiting import soon


@pytest.fixture
def keyless(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_key": None})


def _keys(database: Database) -> list[ApiKey]:
    with database.read() as session:
        return list(session.scalars(select(ApiKey).order_by(ApiKey.id)))


def test_the_first_start_leaves_an_admin_key_that_only_its_owner_reads(
    keyless: Settings, database: Database, clock: StandingClock
) -> None:
    assert ensure_admin_key(keyless, database, clock.now)
    path = keyless.data_dir / ADMIN_KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = local_key(keyless.data_dir)
    assert key is not None
    with database.read() as session:
        found = holder_of_key(session, key, clock.now)
    assert found is not None
    assert found.principal.scopes == {Scope.ADMIN}
    assert not ensure_admin_key(keyless, database, clock.now)
    assert (local_key(keyless.data_dir), len(_keys(database))) == (key, 1)


def test_no_key_is_made_beside_one_of_the_settings(
    settings: Settings, database: Database, clock: StandingClock
) -> None:
    assert not ensure_admin_key(settings, database, clock.now)
    assert _keys(database) == []
    assert local_key(settings.data_dir) is None


def test_a_key_that_cannot_be_written_down_is_not_made(
    keyless: Settings, database: Database, clock: StandingClock
) -> None:
    (keyless.data_dir / ADMIN_KEY_FILE).mkdir()
    with pytest.raises(RefusedToStart, match=r"admin\.key cannot be written"):
        ensure_admin_key(keyless, database, clock.now)
    assert _keys(database) == []


def test_who_has_only_keys_that_ended_gets_a_new_one(
    keyless: Settings, database: Database, clock: StandingClock
) -> None:
    ensure_admin_key(keyless, database, clock.now)
    old = local_key(keyless.data_dir)
    with database.write() as session:
        revoke_key(session, _keys(database)[0].id, clock.now)
        create_key(session, KeyCreate(name="looker", scopes=[Scope.READ]), clock.now)
    clock.advance(1)
    assert ensure_admin_key(keyless, database, clock.now)
    assert local_key(keyless.data_dir) not in (old, None)
    assert login_link(keyless, database, clock.now).startswith("http://127.0.0.1:8321/login/")


def test_a_link_needs_a_key_to_stand_for(keyless: Settings, database: Database, clock: StandingClock) -> None:
    (keyless.data_dir / ADMIN_KEY_FILE).write_text("not a key of ours")
    with pytest.raises(RefusedToStart, match="there is no admin key"):
        login_link(keyless, database, clock.now)
    owned = keyless.model_copy(update={"api_key": SecretStr("k"), "port": 9})
    assert login_link(owned, database, clock.now).startswith("http://127.0.0.1:9/login/")


def test_agents_of_a_start_get_a_key_of_their_own_that_ends_with_it(database: Database, clock: StandingClock) -> None:
    with agent_key(database, clock) as key, database.read() as session:
        found = holder_of_key(session, key, clock.now)
        assert found is not None
        assert found.principal.scopes == {Scope.AGENT}
        assert found.expires_at == clock.now + agents.LIVES
    with database.read() as session:
        assert holder_of_key(session, key, clock.now) is None
    clock.advance(timedelta(days=1, seconds=1).total_seconds())
    with agent_key(database, clock) as second:
        ids = [row.id for row in _keys(database)]
    read = read_key(second)
    assert read is not None
    assert ids == [read[0]], "what earlier starts left behind is removed once it has expired"


def test_the_key_of_agents_is_renewed_while_their_service_lives(
    database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(agents, "_RENEW_EVERY_SECONDS", 0.05)
    with agent_key(database, clock):
        clock.advance(3600)
        assert soon(lambda: _keys(database)[0].expires_at == clock.now + agents.LIVES)
