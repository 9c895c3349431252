"""Which files an entry means: saved data sets, their splits, Megatron's prefixes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy_training.corpus_config import DomainConfig
from proxy_training.documents import find_files
from proxy_training.errors import CorpusError
from proxy_training.readers import read_blocks, read_documents
from proxy_training.readers.base import TextSource
from tests.proxy_training.corpus_files import write_arrow_stream, write_megatron
from tests.proxy_training.text_corpora import texts


def found(folder: Path, *entries: str) -> list[str]:
    paths = find_files(DomainConfig(name="a", files=entries), folder)
    return [str(path.relative_to(folder)) for path in paths]


def save_dataset(folder: Path, parts: list[list[str]]) -> None:
    """As ``save_to_disk`` of Hugging Face datasets lays it out."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(parts):05d}.arrow" for n in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        write_arrow_stream(folder / name, part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def test_a_saved_data_set_is_its_arrow_files_and_not_what_describes_or_caches_them(tmp_path: Path) -> None:
    save_dataset(tmp_path / "mine", [texts(0, 3), texts(1, 3)])
    write_arrow_stream(tmp_path / "mine" / "cache-0123.arrow", ["left by map()"])
    (tmp_path / "note.txt").write_text("x")
    arrow = ["mine/data-00000-of-00002.arrow", "mine/data-00001-of-00002.arrow"]
    assert found(tmp_path, "mine") == arrow
    assert found(tmp_path, ".") == [*arrow, "note.txt"]
    assert found(tmp_path, "mine/d*") == arrow


def test_what_the_datasets_library_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    made = texts(0, 30)
    data = datasets.Dataset.from_dict({"text": made}).filter(lambda row: row["text"] != made[3])
    data.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "splits")
    left = [text for text in made if text != made[3]]
    for entry in ("one", "splits/train"):
        paths = find_files(DomainConfig(name="a", files=(entry,)), tmp_path)
        blocks = [block for path in paths for block in read_blocks(path, TextSource())]
        assert [document.utf8.decode() for block in blocks for document in read_documents(block)] == left
    with pytest.raises(CorpusError, match=r"splits holds the splits test, train of a data set; name the one to read"):
        found(tmp_path, "splits")
    with pytest.raises(CorpusError, match="holds the splits test, train"):
        found(tmp_path, ".")


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("{", "state.json does not say which files"),
        ("{}", "state.json does not say which files"),
        ('{"_data_files": [{"filename": "gone.arrow"}]}', "there is no .*gone.arrow, which state.json beside it names"),
        ('{"_data_files": [{"filename": "../../etc/passwd"}]}', "there is no .*mine/passwd"),
    ],
)
def test_a_saved_data_set_that_is_not_whole_is_refused(tmp_path: Path, state: str, sentence: str) -> None:
    save_dataset(tmp_path / "mine", [["x"]])
    (tmp_path / "mine" / "state.json").write_text(state)
    with pytest.raises(CorpusError, match=sentence):
        found(tmp_path, "mine")


def test_megatron_data_are_named_with_or_without_suffix_and_counted_once(tmp_path: Path) -> None:
    write_megatron(tmp_path / "web_text_document", [[1]])
    for entry in ("web_text_document", "web_text_document.idx", "web_*", ".", "web_text_document.bin"):
        assert found(tmp_path, entry) == ["web_text_document.bin"]
    assert found(tmp_path, ".", "web_text_document") == ["web_text_document.bin"]
