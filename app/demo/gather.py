"""Gathers the demo's real text: a JSONL file of documents a domain, a record of where each came from, and the
configuration that ``mixwright corpus build`` takes.

The same package versions give the same bytes: files are taken in an order of hashes until a domain is full. The
record is written last, so that a folder without it, or with one of other versions, is gathered anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.atomic_files import write_text
from app.demo.corpus_config import corpus_config
from app.demo.documents import SeenText, documents_of
from app.demo.errors import DemoTextMissing
from app.demo.licences import licence_of
from app.demo.packages import in_hash_order
from app.demo.records import DomainText, PackageRecord
from app.demo.sources import SOURCES, Source

RECORD_FILE = "sources.json"
CONFIG_FILE = "corpus.yaml"
# Raise it when the reading or cleaning changes, so that folders of the older form are gathered anew.
FORMAT = 1

MEGABYTE = 1_000_000
MIN_DOMAIN_MEGABYTES = 2.0  # less text than this makes a proxy run repeat itself
MAX_FILE_CHARACTERS = 200_000  # so that no single file is a large part of its domain

OnProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class GatheredText:
    """A complete folder of real text. ``was_there`` says that nothing had to be read."""

    folder: Path
    config: Path
    domains: tuple[DomainText, ...]
    was_there: bool


def gather(
    folder: Path,
    *,
    max_megabytes: float | None = None,
    on_progress: OnProgress | None = None,
    sources: Sequence[Source] = SOURCES,
) -> GatheredText:
    """Write the real text of every source into ``folder``, or find it there.

    Args:
        max_megabytes: an upper limit for every domain, beside its own; at least 2.
        on_progress: called with the fraction done and a few words.

    Raises:
        DemoTextMissing: when a package is absent or holds too little text, or the limit is too small.
    """
    if max_megabytes is not None and max_megabytes < MIN_DOMAIN_MEGABYTES:
        raise DemoTextMissing(
            f"a domain of {max_megabytes:g} MB is too small; give {MIN_DOMAIN_MEGABYTES:g} MB or more"
        )
    report = on_progress or (lambda _fraction, _text: None)
    caps = [source.megabytes if max_megabytes is None else min(source.megabytes, max_megabytes) for source in sources]
    packages = [_package_records(source) for source in sources]
    key = _key(sources, caps, packages)
    there = _read_complete(folder, key)
    if there is not None:
        report(1.0, "the real text is there")
        return GatheredText(folder, folder / CONFIG_FILE, there, was_there=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD_FILE).unlink(missing_ok=True)
        domains = tuple(_gather_domains(folder, sources, caps, packages, report))
        write_text(folder / CONFIG_FILE, corpus_config(domains))
        record = {"key": key, "domains": [asdict(domain) for domain in domains]}
        write_text(folder / RECORD_FILE, json.dumps(record, indent=2) + "\n")
    except OSError as exc:
        raise DemoTextMissing(f"cannot write the real text to the folder {folder}: {exc}") from exc
    report(1.0, "the real text is gathered")
    return GatheredText(folder, folder / CONFIG_FILE, domains, was_there=False)


def _gather_domains(
    folder: Path,
    sources: Sequence[Source],
    caps: list[float],
    packages: list[tuple[PackageRecord, ...]],
    report: OnProgress,
) -> Iterator[DomainText]:
    """Every domain in turn; the whole fraction grows by the megabytes of each."""
    total, done = sum(caps), 0.0
    for source, cap, records in zip(sources, caps, packages, strict=True):

        def report_share(fraction: float, text: str, done: float = done, cap: float = cap) -> None:
            report((done + cap * fraction) / total, text)

        yield _gather_domain(source, cap, records, folder, report_share)
        done += cap


def _package_records(source: Source) -> tuple[PackageRecord, ...]:
    records = []
    for package in source.packages:
        try:
            package.root()
            licence = licence_of(package)
            records.append(PackageRecord(package.name, package.version(), licence.spdx, licence.read_from))
        except DemoTextMissing as exc:
            raise DemoTextMissing(f"the demo's domain {source.name!r} cannot be read: {exc.detail}") from exc
    return tuple(records)


def _gather_domain(
    source: Source, megabytes: float, records: tuple[PackageRecord, ...], folder: Path, report: OnProgress
) -> DomainText:
    limit = round(megabytes * MEGABYTE)
    lines, text_bytes = [], 0
    for label, document in _documents(source):
        size = len(document.encode())
        if text_bytes + size > limit:
            break
        text_bytes += size
        lines.append(json.dumps({"text": document, "source": label}, ensure_ascii=False) + "\n")
        report(text_bytes / limit, f"reading {source.title}")
    if text_bytes < MIN_DOMAIN_MEGABYTES * MEGABYTE * 0.98:  # a full domain may end a document short of its limit
        names = ", ".join(f"{record.package} {record.version}" for record in records)
        raise DemoTextMissing(
            f"the demo's domain {source.name!r} found only {text_bytes / MEGABYTE:.2f} MB of text in {names}; "
            f"it needs {MIN_DOMAIN_MEGABYTES:g} MB: install the complete package"
        )
    path = folder / f"{source.name}.jsonl"
    write_text(path, "".join(lines))
    return DomainText(source.name, source.title, path.name, len(lines), text_bytes, path.stat().st_size, records)


def _documents(source: Source) -> Iterator[tuple[str, str]]:
    """(label of the file, document) in the order of hashes, without duplicates."""
    seen = SeenText()
    for file in in_hash_order(source.files()):
        text = source.extract(file.path)
        if len(text) > MAX_FILE_CHARACTERS:
            text = text[:MAX_FILE_CHARACTERS].rpartition("\n")[0]
        for document in documents_of(text, seen):
            yield file.label, document


def _key(sources: Sequence[Source], caps: list[float], packages: list[tuple[PackageRecord, ...]]) -> dict[str, Any]:
    """What decides the gathered bytes."""
    return {
        "format": FORMAT,
        "domains": [
            {"name": source.name, "megabytes": cap, "packages": [f"{r.package} {r.version}" for r in records]}
            for source, cap, records in zip(sources, caps, packages, strict=True)
        ],
    }


def _read_complete(folder: Path, key: dict[str, Any]) -> tuple[DomainText, ...] | None:
    """The recorded domains, when the record is of this key and every file is there in full."""
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        domains = tuple(
            DomainText(**(entry | {"packages": tuple(PackageRecord(**package) for package in entry["packages"])}))
            for entry in record["domains"]
        )
        whole = all((folder / domain.file).stat().st_size == domain.file_bytes for domain in domains)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent, cut off or of another form: gather anew
    return domains if whole and record["key"] == key and (folder / CONFIG_FILE).is_file() else None
