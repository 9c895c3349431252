"""``python -m migrations.check``: do the revisions, applied from empty, give exactly the tables of the models?"""

from __future__ import annotations

import sys
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.db import Database
from app.models import Base


def differences(database: Database) -> list[Any]:
    """What Alembic would have to change in a migrated database to match the models; empty when they agree."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)


def main() -> int:
    """Migrate an empty SQLite database in a temporary folder and compare."""
    import tempfile
    from pathlib import Path

    from app.migrate import upgrade
    from app.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), database_url=None)
        upgrade(settings)
        database = Database(settings.resolved_database_url)
        found = differences(database)
        database.dispose()
    for difference in found:
        sys.stderr.write(f"models and migrations differ: {difference}\n")
    sys.stdout.write("models and migrations agree\n" if not found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
