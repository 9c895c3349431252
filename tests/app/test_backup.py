"""Backups of the embedded database: whole while others write, and put back only where nothing is lost."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from app.backup import BackupRefused, back_up, restore
from app.db import Database
from app.errors import NewerDatabase
from app.migrate import upgrade
from app.schemas.studies import StudyCreate
from app.services.studies import add_study, create_study, list_studies
from app.settings import Settings
from tests.app.conftest import StandingClock
from tests.app.study_bodies import study_body


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    """The embedded default with one study in it."""
    settings = Settings(data_dir=tmp_path / "data")
    upgrade(settings)
    _add(settings, "first")
    return settings


def _add(settings: Settings, name: str) -> None:
    database = Database(settings.resolved_database_url)
    with database.write() as session:
        create_study(session, StudyCreate.model_validate(study_body(name=name)), StandingClock()())
    database.dispose()


def _names(settings: Settings) -> set[str]:
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        found = {study.name for study in list_studies(session, 1000, None, StandingClock()()).items}
    database.dispose()
    return found


def test_a_backup_is_put_back_as_it_was(ours: Settings, tmp_path: Path) -> None:
    size = back_up(ours, tmp_path / "copy")
    assert size == (tmp_path / "copy").stat().st_size > 0
    _add(ours, "later")
    other = Settings(data_dir=tmp_path / "other")
    restore(other, tmp_path / "copy", replace=False)
    assert _names(other) == {"first"}
    restore(ours, tmp_path / "copy", replace=True)
    assert _names(ours) == {"first"}
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"data", "copy", "other"}


def test_a_backup_while_others_write_is_one_moment(ours: Settings, tmp_path: Path) -> None:
    """Pairs are written together, so a copy holds both of a pair or neither."""
    database = Database(ours.resolved_database_url)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            with database.write() as session:
                for half in "ab":
                    body = StudyCreate.model_validate(study_body(name=f"{number}{half}"))
                    add_study(session, body, StandingClock()())
                session.commit()
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(5):
            back_up(ours, tmp_path / f"copy{i}")
    finally:
        stop.set()
        writer.join()
        database.dispose()
    for i in range(5):
        other = Settings(data_dir=tmp_path / f"other{i}")
        restore(other, tmp_path / f"copy{i}", replace=False)
        names = _names(other) - {"first"}
        assert {name[:-1] + "a" for name in names} == {name for name in names if name.endswith("a")}
        assert len(names) % 2 == 0


def test_data_are_not_replaced_without_being_told(ours: Settings, tmp_path: Path) -> None:
    back_up(ours, tmp_path / "copy")
    with pytest.raises(BackupRefused, match="holds data already; --force replaces it"):
        restore(ours, tmp_path / "copy", replace=False)
    with pytest.raises(BackupRefused, match="is there already"):
        back_up(ours, tmp_path / "copy")


def test_nothing_is_put_under_a_running_service(ours: Settings, tmp_path: Path) -> None:
    back_up(ours, tmp_path / "copy")
    running = Database(ours.resolved_database_url)
    with running.read() as session:
        list_studies(session, 1, None, StandingClock()())
    with pytest.raises(BackupRefused, match="a service runs on"):
        restore(ours, tmp_path / "copy", replace=True)
    running.dispose()
    restore(ours, tmp_path / "copy", replace=True)


def test_a_broken_backup_changes_nothing(ours: Settings, tmp_path: Path) -> None:
    back_up(ours, tmp_path / "copy")
    whole = (tmp_path / "copy").read_bytes()
    for i, broken in enumerate((b"no database" * 100, whole[: len(whole) // 2], b"")):
        (tmp_path / f"broken{i}").write_bytes(broken)
        with pytest.raises(BackupRefused):
            restore(ours, tmp_path / f"broken{i}", replace=True)
    assert _names(ours) == {"first"}
    assert not list(ours.data_dir.glob(".*"))


def test_a_backup_of_a_newer_version_or_another_program_is_refused(ours: Settings, tmp_path: Path) -> None:
    back_up(ours, tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "copy")) as copy:
        copy.execute("UPDATE alembic_version SET version_num = '9999'")
        copy.commit()
    with pytest.raises(NewerDatabase):
        restore(ours, tmp_path / "copy", replace=True)
    with closing(sqlite3.connect(tmp_path / "photos")) as photos:
        photos.execute("CREATE TABLE photos (id)")
    with pytest.raises(BackupRefused, match="holds no database of Mixwright"):
        restore(ours, tmp_path / "photos", replace=True)
    assert _names(ours) == {"first"}


def test_a_broken_database_can_be_replaced(ours: Settings, tmp_path: Path) -> None:
    back_up(ours, tmp_path / "copy")
    (ours.data_dir / "mixwright.sqlite3").write_bytes(b"scrambled" * 1000)
    restore(ours, tmp_path / "copy", replace=True)
    assert _names(ours) == {"first"}


def test_a_database_elsewhere_is_left_to_its_own_tools(tmp_path: Path) -> None:
    elsewhere = Settings(data_dir=tmp_path, database_url="postgresql://u@h/d")
    with pytest.raises(BackupRefused, match="pg_dump"):
        back_up(elsewhere, tmp_path / "copy")


def test_a_backup_that_cannot_be_written_leaves_nothing(ours: Settings, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="cannot be written"):
        back_up(ours, tmp_path / "nowhere" / "copy")
    assert not (tmp_path / "nowhere").exists()
