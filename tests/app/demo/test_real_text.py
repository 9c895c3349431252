"""The six domains are large enough, clearly different, without copies, and say where they come from."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from app.demo.documents import MAX_DOCUMENT_BYTES
from app.demo.gather import RECORD_FILE, GatheredText, gather
from app.demo.sources import SOURCES

# Reading six domains takes about five seconds.
pytestmark = pytest.mark.slow

Documents = dict[str, list[dict[str, str]]]


def test_there_are_six_domains_of_two_megabytes_or_more(real_text: GatheredText, documents: Documents) -> None:
    assert list(documents) == ["python", "cpp", "legal", "cloud_docs", "science_docs", "languages"]
    for domain in real_text.domains:
        measured = sum(len(document["text"].encode()) for document in documents[domain.name])
        assert measured == domain.text_bytes
        assert domain.text_bytes >= 1.96e6, domain.name  # the cap of 2 MB, less at most two documents of 20 kB
        assert len(documents[domain.name]) == domain.documents


def test_caps_of_the_full_demo_make_the_natural_mixture_uneven() -> None:
    caps = [source.megabytes for source in SOURCES]
    assert min(caps) >= 2
    assert max(caps) / min(caps) >= 3


def test_no_document_stands_twice_in_any_domain_and_none_is_longer_than_allowed(documents: Documents) -> None:
    texts = [" ".join(document["text"].split()) for found in documents.values() for document in found]
    assert len(set(texts)) == len(texts)
    assert max(len(document["text"].encode()) for found in documents.values() for document in found) <= (
        MAX_DOCUMENT_BYTES
    )


def _bigram_shares(found: list[dict[str, str]]) -> np.ndarray:
    raw = np.frombuffer("\n".join(document["text"] for document in found).encode(), dtype=np.uint8).astype(np.int64)
    counts = np.bincount(raw[:-1] * 256 + raw[1:], minlength=65536).astype(float)
    return counts / counts.sum()


def _divergence_bits(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence in bits: 0 for equal, 1 for disjoint distributions."""
    middle = (p + q) / 2

    def relative_entropy(r: np.ndarray) -> float:
        there = r > 0
        return float((r[there] * np.log2(r[there] / middle[there])).sum())

    return (relative_entropy(p) + relative_entropy(q)) / 2


def test_domains_differ_from_each_other_far_more_than_from_themselves(documents: Documents) -> None:
    """Byte bigrams of two domains diverge at least five times as much as two random halves of one domain do."""
    shares = {name: _bigram_shares(found) for name, found in documents.items()}
    within = [
        _divergence_bits(_bigram_shares(found[::2]), _bigram_shares(found[1::2]))
        for name, found in documents.items()
        if name != "languages"  # its halves hold different languages, which is its nature
    ]
    across = {(a, b): _divergence_bits(shares[a], shares[b]) for a, b in itertools.combinations(shares, 2)}
    closest = min(across, key=lambda pair: across[pair])
    assert across[closest] > 5 * max(within), (closest, across[closest], within)


def test_every_domain_names_packages_versions_and_licences(real_text: GatheredText) -> None:
    licences = {domain.name: domain.licence for domain in real_text.domains}
    assert licences["python"] == "PSF-2.0"
    assert licences["legal"] == "CC-BY-4.0"
    assert licences["cloud_docs"] == "Apache-2.0"
    assert licences["languages"] == "BSD-3-Clause"
    assert "BSD-3-Clause" in licences["science_docs"]
    assert "BSD-3-Clause" in licences["cpp"]
    for domain in real_text.domains:
        for package in domain.packages:
            assert package.version in domain.source
            assert package.licence_read_from
            assert package.licence != "NOASSERTION"


def test_the_languages_are_not_english(documents: Documents) -> None:
    text = "".join(document["text"] for document in documents["languages"])
    beyond_ascii = sum(ord(letter) > 127 for letter in text) / len(text)
    assert beyond_ascii > 0.25
    languages = {document["source"].split("/locale/")[1].split("/")[0] for document in documents["languages"]}
    assert len(languages) >= 60
    assert "es_MX" not in languages


def test_a_second_gathering_finds_everything_there(real_text: GatheredText) -> None:
    again = gather(real_text.folder, max_megabytes=2)
    assert again.was_there
    assert again.domains == real_text.domains


def test_the_record_is_json_that_a_person_can_check(real_text: GatheredText) -> None:
    record = json.loads((real_text.folder / RECORD_FILE).read_text(encoding="utf-8"))
    assert [domain["name"] for domain in record["domains"]] == [domain.name for domain in real_text.domains]


def test_the_configuration_names_every_file_with_source_and_licence(real_text: GatheredText) -> None:
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load(real_text.config.read_text(encoding="utf-8"))
    for entry, domain in zip(config["domains"], real_text.domains, strict=True):
        assert entry["name"] == domain.name
        assert entry["files"] == [domain.file]
        assert entry["source"] == domain.source
        assert entry["licence"] == domain.licence


def test_the_builder_of_corpora_accepts_the_configuration_and_finds_every_file(real_text: GatheredText) -> None:
    corpus_config = pytest.importorskip("proxy_training.corpus_config")
    documents_module = pytest.importorskip("proxy_training.documents")
    config = corpus_config.read_config(real_text.config)
    found = [documents_module.find_files(domain, config.folder) for domain in config.domains]
    assert [[path.name for path in paths] for paths in found] == [[domain.file] for domain in real_text.domains]


def test_finding_the_packages_imports_none_of_them() -> None:
    code = (
        "import sys; from app.demo.sources import SOURCES; from app.demo.licences import licence_of\n"
        "for source in SOURCES:\n"
        "    assert source.files(); [licence_of(package) for package in source.packages]\n"
        "sys.stdout.write(str(sorted({'torch', 'scipy', 'sklearn', 'django', 'botocore'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]"
