"""The configuration that ``mixwright corpus build CONFIG.yaml --out DIR`` takes, for the gathered domains."""

from __future__ import annotations

import json
from collections.abc import Iterable

from app.demo.records import DomainText


def corpus_config(domains: Iterable[DomainText]) -> str:
    """The YAML text; files are named relative to it. JSON strings are YAML strings, so every value is quoted safely."""
    lines = ["# Written with the text beside it, by the demo's gathering of real text.", "domains:"]
    for domain in domains:
        lines += [
            f"  - name: {json.dumps(domain.name)}",
            f"    files: [{json.dumps(domain.file)}]",
            f"    source: {json.dumps(domain.source)}",
            f"    licence: {json.dumps(domain.licence)}",
        ]
    return "\n".join(lines) + "\n"
