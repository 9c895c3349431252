"""Which mixture of a recommendation is adopted; and what verifications of stages have trained.

Before, the recommended weights were adopted, whatever the recommendation offered; and the mean of the stages was
trained where a recommendation has several. Those runs stay, under the name of what they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_REASON = "before, the recommended weights were adopted in any case"
_ARM, _MEAN_ARM = "recommended", "mean_of_stages"


def upgrade() -> None:
    kind = sa.Enum("recommended", "best_measured", name="mixturechoice", native_enum=False, length=20)
    with op.batch_alter_table("studies") as batch_op:
        batch_op.add_column(sa.Column("adopted_mixture", kind, nullable=True))
        batch_op.add_column(sa.Column("adopted_reason", sa.Text(), nullable=True))
    op.execute(
        sa.text(
            "UPDATE studies SET adopted_mixture = 'recommended', adopted_reason = :reason "
            "WHERE adopted_recommendation_id IS NOT NULL"
        ).bindparams(reason=_REASON)
    )
    _rename_arms(_ARM, _MEAN_ARM)


def downgrade() -> None:
    _rename_arms(_MEAN_ARM, _ARM)
    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_column("adopted_reason")
        batch_op.drop_column("adopted_mixture")


def _rename_arms(old: str, new: str) -> None:
    """Of the runs without stages that verify a recommendation with several."""
    connection = op.get_bind()
    names = sa.MetaData()
    recommendations, runs = (sa.Table(name, names, autoload_with=connection) for name in ("recommendations", "runs"))
    # Every stage has a start: looked for as text, only those that may have two are read.
    maybe = sa.cast(recommendations.c.stages, sa.Text()).like("%from_token%from_token%")
    rows = connection.execute(sa.select(recommendations.c.id, recommendations.c.stages).where(maybe)).all()
    for key, stages in rows:
        if len(stages) > 1:
            verifying = (runs.c.recommendation_id == key, runs.c.arm == old, runs.c.stages.is_(None))
            connection.execute(sa.update(runs).where(*verifying).values(arm=new))
