"""Alembic revisions of the service's database. ``app/migrate.py`` applies them."""
