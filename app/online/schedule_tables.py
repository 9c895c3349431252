"""Schedules, their firings and events as people read them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console

from app.online.output import table, when
from app.schemas.events import EventRead
from app.schemas.schedules import FiringRead, ScheduleRead
from app.terminal import say

SCHEDULE_COLUMNS = ("id", "name", "kind", "cron", "time zone", "state", "next")
FIRING_COLUMNS = ("due", "cause", "state", "started", "finished", "outcome")
_DATA_LENGTH = 160


def schedule_row(schedule: ScheduleRead) -> Sequence[str]:
    """A schedule in a list."""
    following = schedule.next_firings[0].local if schedule.next_firings else "-"
    state = "on" if schedule.enabled else "paused"
    return (str(schedule.id), schedule.name, schedule.kind, schedule.cron, schedule.time_zone, state, following)


def show_schedule(console: Console, schedule: ScheduleRead) -> None:
    """A schedule and its next firings."""
    state = "" if schedule.enabled else ", paused"
    say(console, f"Schedule {schedule.name} ({schedule.id}): {schedule.kind} at {schedule.cron}{state}.")
    say(console, f"Settings: {json.dumps(schedule.settings)}; missed firings: {schedule.missed}.")
    for firing in schedule.next_firings:
        say(console, f"  next: {firing.local} ({when(firing.at)} UTC)")


def firing_row(firing: FiringRead) -> Sequence[str]:
    """A firing in a list."""
    outcome = firing.error or (json.dumps(firing.outcome) if firing.outcome else firing.message or "-")
    state = "-" if firing.state is None else str(firing.state)
    return (when(firing.due_at), str(firing.cause), state, when(firing.started_at), when(firing.finished_at), outcome)


def show_firing(console: Console, firing: FiringRead) -> None:
    """One firing."""
    console.print(table(FIRING_COLUMNS, [firing_row(firing)]))


def event_line(event: EventRead) -> str:
    """An event in one line."""
    data = json.dumps(event.data) if event.data else ""
    data = data if len(data) <= _DATA_LENGTH else f"{data[:_DATA_LENGTH]}..."
    subject = f" {event.subject_id}" if event.subject_id else ""
    return f"{event.at:%Y-%m-%d %H:%M:%S} {event.kind}{subject} by {event.actor} {data}".rstrip()
