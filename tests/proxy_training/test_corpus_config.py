"""Everything that a corpus configuration can have wrong ends in one sentence that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_training.corpus_config import read_config
from proxy_training.errors import CorpusError

DOMAIN = "domains:\n  - name: law\n    files: [law.jsonl]\n"
KEYS = "tokenizer, validation_fraction, context, domains"


def written(folder: Path, text: str) -> Path:
    path = folder / "corpus.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, DOMAIN))
    assert (config.tokenizer.name, config.validation_fraction, config.context) == ("bytes", 0.05, 64)
    assert config.folder == tmp_path.resolve()
    assert config.domains[0].files == ("law.jsonl",)
    assert (config.domains[0].source, config.domains[0].licence) == ("", "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must hold keys and values"),
        ("- law", "must hold keys and values"),
        ("domains: [", "is not YAML: .*line 1"),
        ("a: b: c", r"is not YAML: mapping values are not allowed here \(line 1, column 5\)"),
        ("tokenizer: bytes", "the key 'domains' is missing"),
        ("domains: []", "domains is empty"),
        ("domains: law", "domains must be a list"),
        ("domains: [law]", r"domains\[0\] must hold the keys name, files, source, licence, text_field"),
        ("domains: [{name: law}]", r"the key 'files' is missing in domains\[0\]"),
        ("domains: [{files: [a]}]", r"the key 'name' is missing in domains\[0\]"),
        ("domains: [{name: law, files: []}]", r"domains\[0\].files is empty"),
        ("domains: [{name: law, files: a.txt}]", r"domains\[0\].files must be a list"),
        ("domains: [{name: no, files: [a]}]", r"domains\[0\].name: must be text, but YAML reads it as False"),
        ("domains: [{name: '', files: [a]}]", r"domains\[0\].name is empty"),
        ("domains: [{name: law, file: [a]}]", "unknown key 'file'|the key 'files' is missing"),
        (
            f"{DOMAIN}    license: MIT",
            r"unknown key 'license' in domains\[0\]; accepted: name, .*, text_field, megatron_",
        ),
        (f"{DOMAIN}vocabulary: 3", f"unknown key 'vocabulary'; accepted: {KEYS}"),
        (f"{DOMAIN}folder: /", f"unknown key 'folder'; accepted: {KEYS}"),
        (f"{DOMAIN}tokenizer: gpt2", "tokenizer: there is no tokeniser 'gpt2'; accepted: bytes"),
        (f"{DOMAIN}validation_fraction: 1", "validation_fraction: input should be less than 1"),
        (f"{DOMAIN}validation_fraction: .nan", "validation_fraction: "),
        (f"{DOMAIN}validation_fraction: some", "validation_fraction: input should be a valid number"),
        (f"{DOMAIN}  - name: law\n    files: [b]", "domains: the name 'law' stands 2 times"),
        (f"{DOMAIN}    name: again", r"is not YAML: the key 'name' stands twice \(line 2"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_that_names_the_place(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(CorpusError, match=sentence) as caught:
        read_config(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"there is no corpus configuration .*nothing\.yaml"):
        read_config(tmp_path / "nothing.yaml")


def test_a_configuration_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.yaml").write_bytes(b"\xff\xfe\x00d")
    with pytest.raises(CorpusError, match="is not UTF-8 text"):
        read_config(tmp_path / "corpus.yaml")


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be read: Is a directory"):
        read_config(tmp_path)
