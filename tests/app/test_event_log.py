"""What happened, read as pages and followed as a stream: in the order of commits, and without a gap."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.db import Database
from app.event_watch import EventWatch, Start
from app.principal import Principal, Scope
from app.schemas.events import EventQuery
from app.services.event_log import (
    Place,
    View,
    forget_old_events,
    list_events,
    present_end,
    read_after,
    unsettled,
)
from app.services.events import record
from tests.app.conftest import StandingClock
from tests.app.study_bodies import create_study, queue_runs
from tests.waiting import PATIENCE_SECONDS

ALL = View(None, True)
START = Place(-1, 0)


def _kinds(api: TestClient, url: str = "/v1/events", **query: Any) -> list[str]:
    response = api.get(url, params=query)
    assert response.status_code == 200, response.text
    return [event["kind"] for event in response.json()["items"]]


def _record(database: Database, clock: StandingClock, kind: str, **values: Any) -> None:
    with database.write() as session:
        record(session, kind, clock(), **values)
        session.commit()


def test_events_are_listed_newest_first_and_filtered(api: TestClient, clock: StandingClock) -> None:
    study = create_study(api)
    clock.advance(60)
    queue_runs(api, study, 2)
    assert _kinds(api) == ["runs.created", "study.created"]
    assert _kinds(api, order="oldest") == ["study.created", "runs.created"]
    assert _kinds(api, kind="run") == ["runs.created"]
    assert _kinds(api, since=clock().isoformat()) == ["runs.created"]
    assert _kinds(api, subject_id=study) == ["study.created"]
    assert _kinds(api, actor="owner", limit=1) == ["runs.created"]
    assert _kinds(api, f"/v1/studies/{study}/events") == ["runs.created", "study.created"]


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_hold_every_event_once(api: TestClient, database: Database, clock: StandingClock, order: str) -> None:
    for i in range(7):
        _record(database, clock, f"test.{i}")
    seen, cursor = [], None
    while True:
        page = api.get("/v1/events", params={"limit": 3, "order": order} | ({"cursor": cursor} if cursor else {}))
        seen += [event["kind"] for event in page.json()["items"]]
        if (cursor := page.json()["next_cursor"]) is None:
            break
    expected = [f"test.{i}" for i in range(7)]
    assert seen == (expected if order == "oldest" else expected[::-1])


@pytest.mark.parametrize("cursor", ["", "1", "a-b", "1-2-3", "9" * 30 + "-1", "-1--1", "1-9223372036854775808"])
def test_a_cursor_of_somebody_else_is_refused(api: TestClient, cursor: str) -> None:
    assert api.get("/v1/events", params={"cursor": cursor}).status_code == 422
    if cursor:
        assert api.get("/v1/events/stream", headers={"Last-Event-ID": cursor}).status_code == 422


def test_a_bound_key_sees_its_study_and_only_admins_see_keys(database: Database, clock: StandingClock) -> None:
    ours, theirs = UUID(int=1), UUID(int=2)
    _record(database, clock, "key.created")
    _record(database, clock, "login.created", study_id=ours)
    _record(database, clock, "run.changed", study_id=ours)
    _record(database, clock, "run.retried", study_id=theirs)

    def seen_by(scope: Scope, study: UUID | None) -> list[str]:
        reader = database.on_behalf_of(Principal("reader", frozenset({scope}), study_id=study))
        with reader.read() as session:
            return [event.kind for event in list_events(session, None, EventQuery(order="oldest")).items]

    assert seen_by(Scope.READ, ours) == ["run.changed"]
    assert seen_by(Scope.READ, None) == ["run.changed", "run.retried"]
    assert seen_by(Scope.ADMIN, ours) == ["login.created", "run.changed"]
    assert seen_by(Scope.ADMIN, None) == ["key.created", "login.created", "run.changed", "run.retried"]


def test_a_follower_waits_for_an_older_transaction_that_is_still_open(
    database: Database, clock: StandingClock, backend: str
) -> None:
    """The transaction that began first commits last. Whoever read on by then would never see its event."""
    if backend == "sqlite":
        pytest.skip("on SQLite writers take turns")
    with database.write() as slow:
        record(slow, "test.slow", clock())
        slow.flush()
        _record(database, clock, "test.quick")
        with database.read() as session:
            assert read_after(session, START, ALL, 10)[0] == []
            assert list_events(session, None, EventQuery(order="oldest")).items == []
            assert unsettled(session) == 1
        slow.commit()
    with database.read() as session:
        events, reached = read_after(session, START, ALL, 10)
        assert [event.kind for event in events] == ["test.slow", "test.quick"]
        assert unsettled(session) == 0
        assert read_after(session, reached, ALL, 10)[0] == []


async def _take(watch: EventWatch, view: View, here: Place, enough: Callable[[list[dict]], bool]) -> list[dict]:
    """Events of a stream until there are enough, then the connection is lost."""
    stream: AsyncIterator[str] = watch.events(view, Start(here))
    taken: list[dict] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for text in stream:
            lines = dict(line.split(": ", 1) for line in text.strip().split("\n") if not line.startswith(":"))
            if "data" in lines:
                taken.append(json.loads(lines["data"]) | {"id": lines["id"], "event": lines["event"]})
                if enough(taken):
                    break
    await stream.aclose()  # type: ignore[attr-defined]
    return taken


def test_a_stream_that_is_cut_again_and_again_misses_nothing_while_many_write(
    database: Database, clock: StandingClock
) -> None:
    """Four writers, whose transactions commit in another order than they began."""
    count, writers = 40, 4
    expected = {f"{writer}.{i}" for writer in range(writers) for i in range(count)}

    def write(writer: int) -> None:
        luck = random.Random(writer)
        for i in range(count):
            with database.write() as session:
                record(session, f"test.{writer}.{i}", clock())
                session.flush()
                time.sleep(luck.random() * 0.004)
                session.commit()

    async def follow() -> list[dict]:
        watch = EventWatch(database)
        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
        for thread in threads:
            thread.start()
        luck, here, taken = random.Random(7), START, []
        while len(taken) < len(expected):
            most = luck.randint(1, 30)
            left = len(expected) - len(taken)
            taken += await _take(watch, ALL, here, lambda new, n=min(most, left): len(new) >= n)
            transaction, _, seq = taken[-1]["id"].partition("-")
            here = Place(int(transaction), int(seq))
        for thread in threads:
            thread.join()
        return taken

    taken = asyncio.run(follow())
    assert sorted(event["kind"].removeprefix("test.") for event in taken) == sorted(expected)
    places = [Place(*map(int, event["id"].split("-"))) for event in taken]
    assert places == sorted(places)


def test_listeners_share_one_reader_and_get_what_is_theirs(database: Database, clock: StandingClock) -> None:
    studies = [UUID(int=i) for i in range(3)]

    async def follow() -> list[list[str]]:
        watch = EventWatch(database)
        end = (await watch.start(None)).here
        listeners = [
            asyncio.create_task(_take(watch, View(study, False), end, lambda taken: len(taken) == 2))
            for study in studies
        ]
        while watch._listeners < len(listeners):
            await asyncio.sleep(0)
        assert [task.get_name() for task in asyncio.all_tasks()].count("event-watch") == 1
        for kind in ("test.first", "test.second"):
            for study in studies:
                await asyncio.to_thread(_record, database, clock, kind, study_id=study)
        taken = await asyncio.gather(*listeners)
        return [[event["event"] for event in one] for one in taken]

    assert asyncio.run(follow()) == [["test.first", "test.second"]] * 3


def test_a_listener_from_long_ago_catches_up_page_by_page(
    database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.event_watch._PAGE", 3)
    monkeypatch.setattr("app.event_watch._REMEMBERED", 4)
    for i in range(20):
        _record(database, clock, f"test.{i}")
    taken = asyncio.run(_take(EventWatch(database), ALL, START, lambda taken: len(taken) == 20))
    assert [event["kind"] for event in taken] == [f"test.{i}" for i in range(20)]


def test_a_place_ahead_of_the_log_is_told_and_new_events_follow(database: Database, clock: StandingClock) -> None:
    """A listener of a service whose database has been taken back to an older state; it would wait for years."""
    _record(database, clock, "test.before")
    ahead = Place(10**12, 10**12)

    async def follow() -> tuple[Start, str, list[dict]]:
        watch = EventWatch(database)
        start = await watch.start(ahead)
        first = await anext(watch.events(ALL, start))
        await asyncio.to_thread(_record, database, clock, "test.after")
        return start, first, await _take(watch, ALL, start.here, lambda taken: len(taken) == 1)

    start, first, taken = asyncio.run(follow())
    assert START < start.here < ahead
    assert first.startswith(f"id: {start.here}\n: {ahead} lies ahead of the log")
    assert [event["kind"] for event in taken] == ["test.after"]


def test_a_place_that_the_log_has_reached_is_gone_on_from(database: Database, clock: StandingClock) -> None:
    """Also that of an event which followers do not get yet, because an older transaction is open."""
    with database.write() as slow:
        if database_is_postgres := slow.get_bind().dialect.name == "postgresql":
            record(slow, "test.slow", clock())
            slow.flush()
            _record(database, clock, "test.quick")
        else:
            record(slow, "test.only", clock())
            slow.commit()
        with database.read() as session:
            newest = list_events(session, None, EventQuery()).items[0]
            assert newest.kind == ("test.quick" if database_is_postgres else "test.only")
        key = Place(*map(int, newest.key.split("-")))
        assert asyncio.run(EventWatch(database).start(key)) == Start(key)
        slow.rollback()


def test_old_events_are_forgotten_but_never_the_newest(database: Database, clock: StandingClock) -> None:
    _record(database, clock, "test.old")
    clock.now += timedelta(days=300)
    _record(database, clock, "test.newest")
    clock.now += timedelta(days=150)

    def left(session: Session) -> list[str]:
        return [event.kind for event in read_after(session, START, ALL, 10)[0]]

    with database.write() as session:
        forget_old_events(session, 400, clock())
        session.commit()
        assert left(session) == ["test.newest"]
        forget_old_events(session, 1, clock())
        session.commit()
        assert left(session) == ["test.newest"]
        assert present_end(session) >= START
