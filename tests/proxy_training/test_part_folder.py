"""A folder appears whole or not at all, whatever kills its maker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy_training.part_folder import part_folder
from tests.proxy_training.text_corpora import names_in, texts, write_config, write_jsonl

BUILD = """
import sys, time
from pathlib import Path
from proxy_training.corpus_build import build_corpus
from proxy_training.corpus_config import read_config

def hold(at):
    if at.domain == "b":
        print("half", flush=True)
        time.sleep(60)

build_corpus(read_config(Path(sys.argv[1])), Path(sys.argv[2]), overwrite=True, on_progress=hold)
"""


def make(place: Path, content: str) -> None:
    with part_folder(place) as part:
        (part.path / "content").write_text(content)
        part.publish()


def test_a_folder_appears_when_it_is_published(tmp_path: Path) -> None:
    place = tmp_path / "new" / "corpus"
    with part_folder(place) as part:
        (part.path / "content").write_text("whole")
        assert not place.exists()
        part.publish()
    assert names_in(place.parent) == ["corpus"]
    assert (place / "content").read_text() == "whole"
    assert place.stat().st_mode & 0o777 == 0o777 & ~_umask()


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "corpus", "old")

    def interrupted() -> None:
        with part_folder(tmp_path / "corpus") as part:
            (part.path / "content").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names_in(tmp_path) == ["corpus"]
    assert (tmp_path / "corpus" / "content").read_text() == "old"


def test_a_part_that_is_being_filled_is_not_swept_away(tmp_path: Path) -> None:
    with part_folder(tmp_path / "corpus") as slow:
        make(tmp_path / "corpus", "quick")
        (slow.path / "content").write_text("slow")
        slow.publish()
    assert names_in(tmp_path) == ["corpus"]
    assert (tmp_path / "corpus" / "content").read_text() == "slow"


def test_a_folder_that_was_about_to_be_replaced_is_put_back(tmp_path: Path) -> None:
    make(tmp_path / "corpus[1]", "old")
    (tmp_path / "corpus[1]").rename(tmp_path / ".corpus[1].0123abcd.old")  # as a kill between the two renames leaves it
    with part_folder(tmp_path / "corpus[1]"):
        assert (tmp_path / "corpus[1]" / "content").read_text() == "old"


def test_a_build_that_is_killed_leaves_no_half_corpus_and_the_next_one_starts_clean(tmp_path: Path) -> None:
    for name in "ab":
        write_jsonl(tmp_path / f"{name}.jsonl", texts(ord(name), 30))
    config = write_config(tmp_path, {"a": ["a.jsonl"], "b": ["b.jsonl"]}, validation_fraction=0.3)
    place = tmp_path / "made" / "corpus"
    with subprocess.Popen([sys.executable, "-c", BUILD, config, place], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = names_in(place.parent)
    assert [name.endswith(".part") for name in left] == [True]
    make(place, "whole")
    assert names_in(place.parent) == ["corpus"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
