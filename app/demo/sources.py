"""The registry of the demo's domains: what each is, from which packages, how many bytes of it, how it is read.

Six kinds of text that a model finds clearly different. A new domain is a reader and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.demo import catalogues, cloud_docs, docstrings, legal_texts, source_code
from app.demo.packages import Package, TextFile


@dataclass(frozen=True)
class Source:
    """One domain of real text.

    Args:
        name: the domain's name.
        title: what it is, for people.
        packages: where its text comes from.
        megabytes: how much of it is taken at most. The caps differ, as the sizes of real domains do; without that
            the natural mixture would be the uniform one.
        files: lists the files, in any order.
        extract: the text of one file; empty when it has none worth reading.
    """

    name: str
    title: str
    packages: tuple[Package, ...]
    megabytes: float
    files: Callable[[], list[TextFile]]
    extract: Callable[[Path], str]


SOURCES: tuple[Source, ...] = (
    Source(
        "python",
        "Python source code: the standard library without tests",
        (source_code.PYTHON,),
        6.0,
        source_code.python_files,
        source_code.extract_code,
    ),
    Source(
        "cpp",
        "C++ headers of the torch wheel",
        (source_code.TORCH,),
        5.0,
        source_code.cpp_files,
        source_code.extract_code,
    ),
    Source(
        "legal",
        "legal English: texts of software licences",
        (legal_texts.LICENCE_TEXTS,),
        4.0,
        legal_texts.legal_files,
        legal_texts.extract_legal_text,
    ),
    Source(
        "cloud_docs",
        "English documentation of cloud services",
        (cloud_docs.BOTOCORE,),
        8.0,
        cloud_docs.cloud_files,
        cloud_docs.extract_cloud_docs,
    ),
    Source(
        "science_docs",
        "docstrings of numerical Python packages",
        docstrings.PACKAGES,
        3.0,
        docstrings.science_files,
        docstrings.extract_docstrings,
    ),
    Source(
        "languages",
        "translated messages in about ninety languages",
        (catalogues.DJANGO,),
        2.5,
        catalogues.catalogue_files,
        catalogues.extract_translations,
    ),
)
