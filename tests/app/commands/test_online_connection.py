"""Which service the command line asks, and with whose key."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from app.calls.errors import ClientError
from app.connection import DEFAULT_URL, ConnectionOptions, find_place
from app.local_key import ADMIN_KEY_FILE
from app.online.bodies import body_of, scalars
from app.online.lookups import _by_part
from app.option_texts import pairs
from app.schemas.runs import SuggestionCreate
from mixers.errors import InvalidInput


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the admin key of a service on this machine."""
    (tmp_path / ADMIN_KEY_FILE).write_text("local\n")
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("data_dir")
def test_this_machine_is_asked_with_the_key_that_its_service_left() -> None:
    place = find_place(ConnectionOptions())
    assert (place.url, place.key) == (DEFAULT_URL, "local")


@pytest.mark.usefixtures("data_dir")
def test_the_key_of_this_machine_is_never_sent_to_another() -> None:
    for url in ("https://mix.example.org", "http://127.0.0.1.example.org:8321", "http://10.0.0.7:8321"):
        assert find_place(ConnectionOptions(url=url)).key is None


def test_an_option_goes_before_the_environment(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXWRIGHT_URL", "https://there.example.org")
    monkeypatch.setenv("MIXWRIGHT_API_KEY", " of-the-environment ")
    place = find_place(ConnectionOptions())
    assert (place.url, place.key) == ("https://there.example.org", "of-the-environment")
    (tmp_path / "named").write_text("of-the-named-file\n")
    monkeypatch.setenv("MIXWRIGHT_KEY_FILE", str(tmp_path / "named"))
    assert find_place(ConnectionOptions()).key == "of-the-environment"
    monkeypatch.delenv("MIXWRIGHT_API_KEY")
    assert find_place(ConnectionOptions()).key == "of-the-named-file"
    key_file = tmp_path / "key"
    key_file.write_text("of-the-file\n")
    place = find_place(ConnectionOptions(url="http://[::1]:1", key_file=key_file))
    assert (place.url, place.key, place.origin) == ("http://[::1]:1", "of-the-file", str(key_file))
    assert data_dir.is_dir()


@pytest.mark.parametrize("text", ["", "  \n", "two words", "schlüssel"])
def test_a_file_without_one_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(ClientError, match="holds no key; it must hold one API key"):
        find_place(ConnectionOptions(key_file=tmp_path / "key"))


@pytest.mark.parametrize("url", ["127.0.0.1:8321", "ftp://here", "http://", "here"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="write it as http://HOST:PORT"):
        find_place(ConnectionOptions(url=url))


def test_there_is_no_option_for_a_key(refusal) -> None:
    assert "No such option" in refusal("study", "list", "--api-key", "secret")


class Thing:
    def __init__(self, text: str) -> None:
        self.id = UUID(text)


THINGS = [Thing("01a1ff64-f413-7038-8f72-432480511faa"), Thing("01a1ff64-f413-73c8-b2bf-e5c5c3f44411")]


def test_an_id_may_be_shortened_at_either_end() -> None:
    assert _by_part("study", "4411", THINGS) is THINGS[1]
    assert _by_part("study", "01A1FF64-F413-70", THINGS) is THINGS[0]


def test_a_part_of_several_ids_names_them() -> None:
    with pytest.raises(ClientError, match=f"start or end of 2 ids of a study: {THINGS[0].id}, {THINGS[1].id}"):
        _by_part("study", "01a1ff64", THINGS)


@pytest.mark.parametrize("part", ["411", "wxyz", "432480511fab"])
def test_what_is_no_part_of_an_id_finds_nothing(part: str) -> None:
    assert _by_part("study", part, THINGS) is None


def test_a_wrong_field_is_named_with_its_place() -> None:
    with pytest.raises(ClientError, match=r"swarm.json, count: input should be greater than or equal to 1"):
        body_of(SuggestionCreate, {"count": 0}, "swarm.json")


def test_options_are_numbers_where_they_look_like_it() -> None:
    given = scalars(pairs("--option", ["a=1", "b=true", "c=x=y", 'd=["q"]', "e="]))
    assert given == {"a": 1, "b": True, "c": "x=y", "d": ["q"], "e": ""}
    with pytest.raises(InvalidInput, match="--option names 'a' twice"):
        pairs("--option", ["a=1", "a=2"])
