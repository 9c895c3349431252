"""A parameter of the query that a call does not take is refused: a misspelt filter must not list everything."""

from __future__ import annotations

from fastapi import Depends, Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from app.errors import InvalidRequest

_ELSEWHERE = (params.Path, params.Header, params.Cookie)


async def _only_known(request: Request) -> None:
    if not request.query_params:
        return
    known = _query_of(request.scope["route"])
    for name in request.query_params:
        if name not in known:
            accepted = f"one of {', '.join(known)}" if known else "no parameters"
            raise InvalidRequest.of(name[:100] or "query", "is no parameter of this call", accepted)


def _query_of(route: APIRoute) -> list[str]:
    """The names, as the description of the API lists them."""
    return [each.alias for each in get_flat_params(route.dependant) if not isinstance(each.field_info, _ELSEWHERE)]


# For the routes of an API, all at once or one by one.
ONLY_KNOWN = Depends(_only_known)
