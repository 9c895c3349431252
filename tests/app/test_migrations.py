"""The database is brought to this version's revision, or refused in one sentence and left as it was."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, text

from app.db import Database
from app.errors import NewerDatabase, RefusedToStart
from app.migrate import alembic_config, check_version, current_revision, head_revision, upgrade
from app.models import Base
from app.settings import Settings
from migrations.check import differences


def test_revisions_applied_from_empty_give_the_tables_of_the_models(settings: Settings, database: Database) -> None:
    assert differences(database) == []
    with database.engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
        assert current_revision(connection) == head_revision()


def test_the_check_sees_a_difference(settings: Settings, database: Database) -> None:
    with database.writing_connection() as connection:
        connection.execute(text("ALTER TABLE agents DROP COLUMN device"))
        connection.execute(text("DROP INDEX ix_runs_queue"))
    kinds = {difference[0] for difference in differences(database)}
    assert kinds == {"add_column", "add_index"}


def test_upgrading_again_changes_nothing(settings: Settings) -> None:
    assert upgrade(settings) == upgrade(settings) == head_revision()


def test_every_revision_can_be_taken_back(settings: Settings, database: Database) -> None:
    with database.writing_connection() as connection:
        command.downgrade(alembic_config(connection), "base")
    with database.engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    assert upgrade(settings) == head_revision()


def test_replicas_that_start_together_upgrade_once(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database_url)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: upgrade(settings), range(4))) == {head_revision()}


def test_a_newer_database_is_refused_and_left_alone(settings: Settings, database: Database) -> None:
    with database.writing_connection() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refuse in (check_version, upgrade):
        with pytest.raises(NewerDatabase, match=r"is of revision 9999, which this version of Mixwright does not know"):
            refuse(settings)
    with database.engine.connect() as connection:
        assert current_revision(connection) == "9999"


def test_a_password_is_not_shown_in_a_refusal() -> None:
    settings = Settings(database_url="postgresql://user:hunter2@127.0.0.1:1/nothing")
    with pytest.raises(RefusedToStart) as refused:
        check_version(settings)
    assert "cannot be opened" in refused.value.detail
    assert "hunter2" not in refused.value.detail


def test_an_absent_database_is_fine_and_not_made_by_the_check(tmp_path: Path) -> None:
    check_version(Settings(data_dir=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mixwright.sqlite3"
    path.write_text("these are not the bytes of a database, however long one reads on and on and on" * 10)
    with pytest.raises(RefusedToStart, match="file is not a database"):
        check_version(Settings(data_dir=tmp_path))


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mixwright.sqlite3") as connection:
        connection.execute("CREATE TABLE photos (id)")
    connection.close()
    with pytest.raises(RefusedToStart, match=r"tables that are not Mixwright's \(photos\)"):
        upgrade(Settings(data_dir=tmp_path))


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedToStart, match="cannot be made"):
        upgrade(Settings(data_dir=tmp_path / "file" / "data"))


def test_the_data_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    upgrade(Settings(data_dir=tmp_path / "data"))
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
