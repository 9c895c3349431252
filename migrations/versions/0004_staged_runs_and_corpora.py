"""Stages of runs, what tells runs that are alike, and the corpora of agents.

Runs of before have one mixture each. Agents name their corpora again with their next claim.
"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ROWS_AT_ONCE = 5_000


def upgrade() -> None:
    with op.batch_alter_table("runs") as batch_op:
        batch_op.add_column(sa.Column("stages", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("content_key", sa.String(32), nullable=True))
    _fill_content_keys()
    op.create_index("ix_runs_content", "runs", ["study_id", "content_key"])
    op.create_index("ix_runs_waiting", "runs", ["study_id", "state", "corpus_hash"])
    with op.batch_alter_table("agents") as batch_op:
        batch_op.add_column(sa.Column("corpus_hashes", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """What stages a run had is lost; it keeps their mean as its weights."""
    with op.batch_alter_table("agents") as batch_op:
        batch_op.drop_column("corpus_hashes")
    op.drop_index("ix_runs_waiting", "runs")
    op.drop_index("ix_runs_content", "runs")
    with op.batch_alter_table("runs") as batch_op:
        batch_op.drop_column("content_key")
        batch_op.drop_column("stages")


def _fill_content_keys() -> None:
    """Runs that wait or were trained by an agent can be told again when they are queued anew."""
    connection = op.get_bind()
    identifier = sa.String() if connection.dialect.name == "sqlite" else sa.Uuid()
    runs = sa.table(
        "runs",
        sa.column("id", identifier),
        sa.column("batch_key", sa.String()),
        sa.column("seed", sa.BigInteger()),
        sa.column("weights", sa.JSON()),
        sa.column("content_key", sa.String()),
    )
    wanted = sa.select(runs.c.id, runs.c.batch_key, runs.c.seed, runs.c.weights).where(runs.c.batch_key.is_not(None))
    fill = sa.update(runs).where(runs.c.id == sa.bindparam("run")).values(content_key=sa.bindparam("key"))
    last = None
    while True:
        part = wanted if last is None else wanted.where(runs.c.id > last)
        rows = connection.execute(part.order_by(runs.c.id).limit(_ROWS_AT_ONCE)).all()
        if not rows:
            return
        connection.execute(fill, [{"run": row.id, "key": _key(row)} for row in rows])
        last = rows[-1].id


def _key(row: sa.Row) -> str:
    told = json.dumps([row.batch_key, row.seed, row.weights], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]
