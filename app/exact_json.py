"""JSON that can be read in one way only, and texts that every database stores (RFC 8259, RFC 7493).

Python's reader takes the last of two equal names, NaN and what overflows; SQLite stores a NUL character and
PostgreSQL does not. A caller who sends one of these has made a mistake, and is told so.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from app.errors import InvalidRequest

# A backslash that is not itself escaped; the escaped ones before it are kept by a substitution.
_ESCAPE = rb"(?<!\\)((?:\\\\)*)\\u"
_NUL = re.compile(_ESCAPE + rb"0000")
_PAIR = re.compile(_ESCAPE + rb"[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF = re.compile(_ESCAPE + rb"[dD][89a-fA-F][0-9a-fA-F]{2}")


def read_json(text: bytes, field: str = "body") -> Any:
    """What ``text`` says.

    Raises:
        InvalidRequest: it is not JSON in UTF-8, or not JSON that means one thing; ``field`` is where it stood.
    """
    _check_texts(text, field)
    try:
        return json.loads(
            text.decode(), object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as exc:
        raise InvalidRequest.of(field, f"is not UTF-8 at byte {exc.start}", "JSON in UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise InvalidRequest.of(field, f"is not JSON at character {exc.pos}: {exc.msg}", "a JSON object") from exc
    except RecursionError as exc:
        raise InvalidRequest.of(field, "is nested too deeply", "a few levels") from exc
    except ValueError as exc:  # more digits than Python turns into a number
        raise InvalidRequest.of(field, "holds a whole number that is too large", "at most 64 bits") from exc


def _check_texts(text: bytes, field: str) -> None:
    if b"\\u" not in text:
        return
    if found := _NUL.search(text):
        raise InvalidRequest.of(field, f"holds a NUL character at byte {found.start()}", "texts without it")
    if found := _HALF.search(_PAIR.sub(rb"\1", text)):
        raise InvalidRequest.of(field, "holds half of a surrogate pair", "whole characters")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidRequest.of(name[:200], "stands twice in one object", "one value")
    return made


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise InvalidRequest.of(text[:50], "is too large for a number", "64-bit floating point")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise InvalidRequest.of(text, "is no number in JSON", "a finite number, or null where that is allowed")
