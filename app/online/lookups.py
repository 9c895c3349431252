"""Finds what a person names: by its id, by a part of it, or a study, an agent or a schedule by its name.

Ids start with the time, so those of one batch start alike and end differently: the start of an id will do as well as
its end, as long as it is the only one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol, TypeVar
from uuid import UUID

from app.calls.errors import ClientError
from app.client import Client
from app.schemas.agents import AgentRead
from app.schemas.fits import FitRead
from app.schemas.imports import ImportReport
from app.schemas.recommendations import RecommendationRead
from app.schemas.runs import RunQuery, RunRead
from app.schemas.schedules import ScheduleRead
from app.schemas.studies import StudyRead, TargetIn

# Shorter parts name too many things.
_LEAST_PART = 4
_NAMED = 5
_NAME_OR_ID = "its name, its id"


class _Identified(Protocol):
    id: UUID


class _Named(_Identified, Protocol):
    name: str


Thing = TypeVar("Thing", bound=_Identified)
Named = TypeVar("Named", bound=_Named)


def find_study(client: Client, text: str) -> StudyRead:
    """The study of this name or id.

    Raises:
        ClientError: there is none, or several.
    """
    if (known := _uuid(text)) is not None:
        return client.get_study(known)
    if (named := _by_name("studies", text, lambda: client.all_studies(name=text))) is not None:
        return named
    if (found := _by_part("study", text, client.all_studies())) is not None:
        return client.get_study(found.id)
    there = [repr(study.name) for study in client.list_studies(limit=_NAMED).items]
    raise ClientError(f"there is no study {text!r}; the newest are {', '.join(there) or 'none yet'}")


def find_fit(client: Client, text: str) -> FitRead:
    """The fit of this id."""
    return _found("fit", text, client.get_fit, lambda: _of_studies(client, client.all_fits))


def targets_of(client: Client, found: FitRead | RecommendationRead) -> Sequence[TargetIn]:
    """The targets of its study, which say in which unit its losses are."""
    return client.get_study(found.study_id).targets


def find_recommendation(client: Client, text: str) -> RecommendationRead:
    """The recommendation of this id, with its details."""
    everywhere = lambda: _of_studies(client, client.all_recommendations)  # noqa: E731
    return client.get_recommendation(_found("recommendation", text, client.get_recommendation, everywhere).id)


def other_recommendation(client: Client, study_id: UUID, text: str) -> str:
    """The id of the recommendation of the study whose id has this part; any other text is a name, and stays."""
    if _uuid(text) is not None:
        return text
    found = _by_part("recommendation", text, client.all_recommendations(study_id))
    return text if found is None else str(found.id)


def find_run(client: Client, text: str) -> RunRead:
    """The run of this id."""
    everywhere = lambda: _of_studies(client, lambda study_id: client.find_runs(study_id, RunQuery()))  # noqa: E731
    return _found("run", text, client.get_run, everywhere)


def find_schedule(client: Client, text: str) -> ScheduleRead:
    """The schedule of this id or, where only one has it, this name."""
    everywhere = lambda: _of_studies(client, client.all_schedules)  # noqa: E731
    named = _by_name("schedules", text, everywhere)
    return named or _found("schedule", text, client.get_schedule, everywhere, _NAME_OR_ID)


def find_agent(client: Client, text: str) -> AgentRead:
    """The agent of this id or, where only one has it, this name."""
    named = _by_name("agents", text, client.all_agents)
    return named or _found("agent", text, client.get_agent, client.all_agents, _NAME_OR_ID)


def find_import(client: Client, text: str) -> ImportReport:
    """The report of this id."""
    known = _uuid(text)
    if known is None:
        raise ClientError(f"{text!r} is no id of an import; 'mixwright imports list STUDY' shows them")
    return client.get_import(known)


def _found(
    what: str, text: str, read: Callable[[UUID], Thing], everything: Callable[[], Iterable[Thing]], by: str = "its id"
) -> Thing:
    if (known := _uuid(text)) is not None:
        return read(known)
    found = _by_part(what, text, everything())
    if found is None:
        raise ClientError(f"there is no {what} {text!r}; give {by}, or at least {_LEAST_PART} characters of it")
    return found


def _of_studies(client: Client, items: Callable[[UUID], Iterator[Thing]]) -> Iterator[Thing]:
    return chain.from_iterable(items(study.id) for study in client.all_studies())


def _by_name(several: str, text: str, things: Callable[[], Iterable[Named]]) -> Named | None:
    """The one thing of this very name; ids are no names."""
    if _uuid(text) is not None:
        return None
    found = [thing for thing in things() if thing.name == text]
    if len(found) > 1:
        raise ClientError(f"{len(found)} {several} are named {text!r}; name one by its id: {_ids(found)}")
    return found[0] if found else None


def _by_part(what: str, text: str, things: Iterable[Thing]) -> Thing | None:
    """The one thing whose id starts or ends like this."""
    part = text.replace("-", "").lower()
    if len(part) < _LEAST_PART or not re.fullmatch(r"[0-9a-f]+", part):
        return None
    found = [thing for thing in things if thing.id.hex.startswith(part) or thing.id.hex.endswith(part)]
    if len(found) > 1:
        raise ClientError(f"{text!r} is the start or end of {len(found)} ids of a {what}: {_ids(found)}")
    return found[0] if found else None


def _ids(things: Sequence[_Identified]) -> str:
    listed = ", ".join(str(thing.id) for thing in things[:_NAMED])
    return listed + (", ..." if len(things) > _NAMED else "")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
