"""The reader of bodies takes what JSON allows, and only where it means one thing."""

from __future__ import annotations

import json

import pytest

from app.errors import InvalidRequest
from app.exact_json import read_json


@pytest.mark.parametrize(
    "text",
    [
        r'{"a": [1, -2.5e3, 1e-400, true, null, "x"], "b": {"a": {}}}',
        r'"\ud83d\ude00 and \uD83D\uDE00"',
        r'"\\u0000 and \\ud800 and \\\\u0000"',
        r'"\\\ud83d\ude00"',
        '"grün, 混合, 😀"',
        "123456789012345678901234567890",
    ],
)
def test_json_is_read_as_python_reads_it(text: str) -> None:
    assert read_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r'"a\u0000"', "holds a NUL character at byte 2"),
        (r'"\\\u0000"', "holds a NUL character"),
        (r'"\ud83d"', "half of a surrogate pair"),
        (r'"\ude00\ud83d"', "half of a surrogate pair"),
        (r'"\\ud83d\ude00"', "half of a surrogate pair"),
        (r'{"x": {"a": 1, "b": 2, "a": 3}}', "a: stands twice"),
        ("[NaN]", "NaN: is no number in JSON"),
        ("-Infinity", "-Infinity: is no number in JSON"),
        ("[1e400]", "1e400: is too large"),
        ("9" * 5000, "whole number that is too large"),
        ("[" * 100_000, "nested too deeply"),
        ("{} {}", "is not JSON at character 3: Extra data"),
    ],
)
def test_what_means_nothing_or_two_things_is_named(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_json(text.encode())
    assert reason in str(refusal.value)


def test_the_first_byte_that_is_not_utf8_is_named() -> None:
    with pytest.raises(InvalidRequest, match="settings: is not UTF-8 at byte 2"):
        read_json(b'"a\xff"', "settings")
