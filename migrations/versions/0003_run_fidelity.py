"""The fidelity of runs.

Runs of before were trained.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kind = sa.Enum("trained", "merged", name="runfidelity", native_enum=False, length=20)
    with op.batch_alter_table("runs") as batch_op:
        batch_op.add_column(sa.Column("fidelity", kind, nullable=False, server_default="trained"))


def downgrade() -> None:
    with op.batch_alter_table("runs") as batch_op:
        batch_op.drop_column("fidelity")
