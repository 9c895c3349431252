"""Short texts in about ninety languages: the translations in Django's message catalogues.

The format is GNU gettext's PO: ``msgid`` (English), ``msgstr`` (the translation), each one or more quoted strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from app.demo.packages import Package, TextFile, list_files

DJANGO = Package("django", "django", "demo")

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*$')
_ESCAPE = re.compile(r"\\(.)")
_MEANING = {"n": "\n", "t": "\t", "r": ""}


def catalogue_files() -> list[TextFile]:
    """One catalogue a language and application. Regional variants (es_MX beside es) repeat their language and are
    left out, English too: it is not translated."""
    files = list_files(DJANGO, (".po",))
    known = {_language(file) for file in files}
    return [file for file in files if not _is_variant(_language(file), known) and _language(file) != "en"]


def _language(file: TextFile) -> str:
    return file.label.split("/locale/", 1)[1].split("/", 1)[0]


def _is_variant(language: str, known: set[str]) -> bool:
    return "_" in language and language.split("_", 1)[0] in known


def extract_translations(path: Path) -> str:
    """The translated texts of a catalogue, one a line, in the order of the file."""
    return "\n".join(translations(path.read_text(encoding="utf-8")))


def translations(catalogue: str) -> Iterator[str]:
    """The non-empty ``msgstr`` texts, every plural form by itself; the header (of the empty ``msgid``) is none.

    >>> list(translations('msgid "A \\\\"b\\\\""\\nmsgstr ""\\n"Ein "\\n"B"\\n'))
    ['Ein B']
    """
    keyword, original, translated = "", "", ""
    for line in [*catalogue.split("\n"), "msgid"]:
        word = re.match(r"[a-z_]+(\[\d+\])?", line)
        if word is not None or line.startswith("#"):
            if keyword.startswith("msgstr") and original and translated:
                yield translated
            keyword = word[0] if word else ""
            translated = ""
            if keyword in ("msgid", "msgctxt"):
                original = ""
        quoted = _QUOTED.search(line)
        if quoted is None:
            continue
        if keyword == "msgid":
            original += quoted[1]
        elif keyword.startswith("msgstr"):
            translated += _ESCAPE.sub(lambda found: _MEANING.get(found[1], found[1]), quoted[1])
