"""Fits that take every point of their runs say how many points that were; runs of earlier fits count by their ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("fits") as batch_op:
        batch_op.add_column(sa.Column("points", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("fits") as batch_op:
        batch_op.drop_column("points")
