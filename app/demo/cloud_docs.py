"""English documentation of cloud services: the HTML texts inside botocore's service models."""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.demo.packages import Package, TextFile, list_files

BOTOCORE = Package("botocore", "botocore", "demo")

_MODEL = "service-2.json.gz"
_ITEM = re.compile(r"<li[^>]*>\s*(?:<p>)?", re.IGNORECASE)
_BLOCK = re.compile(r"</?(?:p|div|ul|ol|dl|dt|dd|li|note|important|br|h\d|table|tr|pre)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")


def cloud_files() -> list[TextFile]:
    """The newest model of every service: older versions say the same in other words."""
    newest: dict[str, TextFile] = {}
    for file in list_files(BOTOCORE, (_MODEL,), below="data"):  # sorted, so the last date of a service wins
        newest[file.label.split("/")[2]] = file
    return list(newest.values())


def extract_cloud_docs(path: Path) -> str:
    """Every documentation text of a service, as plain paragraphs in the order of the model."""
    model = json.loads(gzip.decompress(path.read_bytes()))
    return "\n\n".join(filter(None, map(plain_text, _documentation(model))))


def plain_text(markup: str) -> str:
    """The words of an HTML text. The models hold simple, machine-checked HTML, so patterns do; a parser costs
    ten times as much.

    >>> plain_text("<p>Creates a <code>Bucket</code>.</p><ul><li><p>Fast &amp; small</p></li></ul>")
    'Creates a Bucket.\\n- Fast & small'
    """
    text = _ITEM.sub("\n- ", " ".join(markup.split()))
    text = html.unescape(_TAG.sub("", _BLOCK.sub("\n", text)))
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line not in ("", "-"))


def _documentation(node: Any) -> Iterator[str]:
    """The values of every ``documentation`` key below ``node``, depth first."""
    if isinstance(node, dict):
        text = node.get("documentation")
        if isinstance(text, str):
            yield text
        for value in node.values():
            yield from _documentation(value)
    elif isinstance(node, list):
        for value in node:
            yield from _documentation(value)
