"""``python -m migrations.revise "why"``: write the revision that brings the migrated tables to the models."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from app.db import Database
from app.migrate import MIGRATIONS, alembic_config, upgrade
from app.settings import Settings


def main(why: str) -> None:
    """Compare the models with the present head and write the next numbered file; look at it before you commit it."""
    number = len(list((MIGRATIONS / "versions").glob("[0-9]*.py"))) + 1
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), database_url=None)
        if number > 1:
            upgrade(settings)
        database = Database(settings.resolved_database_url)
        with database.writing_connection() as connection:
            command.revision(alembic_config(connection), why, autogenerate=True, rev_id=f"{number:04d}")
        database.dispose()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m migrations.revise "why the tables change"')
    main(sys.argv[1])
