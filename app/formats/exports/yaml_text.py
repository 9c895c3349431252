"""YAML that every parser reads alike: floats that parse back to themselves, and quoted text.

Parsers disagree on which plain words are numbers, booleans or null (YAML 1.1, 1.2, and the fast ones), so all text but
plain identifiers is written in double quotes.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"})


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _IDENTIFIER.fullmatch(value) and value.lower() not in _RESERVED
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def to_yaml(document: dict[str, Any]) -> str:
    """The document in block style, keys in the order given, one line a value."""
    return yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"), default_flow_style=False
    )
