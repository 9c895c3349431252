"""Where an agent finds its key, and that its trainers find none."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_training.agent_key import find_key
from proxy_training.child_environment import child_environment
from proxy_training.errors import ProxyError


def test_a_file_goes_before_the_key_of_the_environment_and_that_before_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "given").write_text("of-the-option\n")
    (tmp_path / "named").write_text("of-the-variable\n")
    monkeypatch.delenv("MIXWRIGHT_API_KEY", raising=False)
    monkeypatch.delenv("MIXWRIGHT_KEY_FILE", raising=False)
    assert find_key(None) is None
    monkeypatch.setenv("MIXWRIGHT_KEY_FILE", str(tmp_path / "named"))
    assert find_key(None) == "of-the-variable"
    monkeypatch.setenv("MIXWRIGHT_API_KEY", " of-the-environment ")
    assert find_key(None) == "of-the-environment"
    assert find_key(tmp_path / "given") == "of-the-option"
    assert not {"MIXWRIGHT_API_KEY", "MIXWRIGHT_KEY_FILE"} & child_environment().keys()


@pytest.mark.parametrize("text", ["", "  \n", "two words", "schlüssel"])
def test_a_file_without_one_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(ProxyError, match="holds no key; it must hold one API key and nothing else"):
        find_key(tmp_path / "key")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="none, cannot be read: No such file"):
        find_key(tmp_path / "none")
