"""Hours on GPUs and on CPUs apart; and no rule of early stopping that never acts.

Hours of before counted as GPU-hours, whatever they were spent on. Those that results name a CPU for are taken out of
them; what broken attempts cost stays, for nothing says what it was spent on. A rule that no measurement of its run
meets is refused from now on, and means the same as none.
"""

from __future__ import annotations

import copy
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STUDY_COLUMNS = ("spent_gpu_flops", "spent_cpu_seconds")
# How agents of before named a CPU.
_ON_CPU = "cpu%"


def upgrade() -> None:
    with op.batch_alter_table("studies") as batch_op:
        for name in _STUDY_COLUMNS:
            batch_op.add_column(sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    with op.batch_alter_table("run_attempts") as batch_op:
        batch_op.add_column(sa.Column("processor", sa.String(10), nullable=False, server_default="gpu"))
    op.execute(f"UPDATE run_attempts SET processor = 'cpu' WHERE agent_id IN {_agents_on_cpus()}")
    op.execute("UPDATE studies SET spent_gpu_flops = spent_flops")
    _take_out_hours_on_cpus()
    _drop_rules_that_never_act()


def downgrade() -> None:
    op.execute("UPDATE studies SET spent_gpu_seconds = spent_gpu_seconds + spent_cpu_seconds")
    with op.batch_alter_table("run_attempts") as batch_op:
        batch_op.drop_column("processor")
    with op.batch_alter_table("studies") as batch_op:
        for name in _STUDY_COLUMNS:
            batch_op.drop_column(name)


def _agents_on_cpus() -> str:
    return f"(SELECT id FROM agents WHERE device LIKE '{_ON_CPU}')"


def _take_out_hours_on_cpus() -> None:
    connection = op.get_bind()
    runs, studies = _table("runs"), _table("studies")
    flops = 6.0 * sa.cast(sa.func.coalesce(runs.c.model_params, 0), sa.Double()) * runs.c.progress_tokens
    on_cpus = connection.execute(
        sa.select(runs.c.study_id, sa.func.sum(runs.c.wall_seconds), sa.func.sum(flops))
        .where(runs.c.result["device"].as_string().like(_ON_CPU))
        .group_by(runs.c.study_id)
    ).all()
    for study_id, seconds, done in on_cpus:
        row = connection.execute(sa.select(studies).where(studies.c.id == study_id)).one()
        moved = min(seconds or 0.0, row.spent_gpu_seconds)
        values = {
            "spent_cpu_seconds": moved,
            "spent_gpu_seconds": row.spent_gpu_seconds - moved,
            "spent_gpu_flops": max(row.spent_flops - done, 0.0),
        }
        connection.execute(sa.update(studies).where(studies.c.id == study_id).values(values))


def _drop_rules_that_never_act() -> None:
    connection = op.get_bind()
    for name in ("runs", "schedules"):
        table = _table(name)
        wanted = sa.cast(table.c.settings, sa.Text()).like('%"early_stopping": {%')
        rows = connection.execute(sa.select(table.c.id, table.c.settings).where(wanted)).all()
        for key, settings in rows:
            changed = copy.deepcopy(settings)
            proxy = changed if name == "runs" else changed.get("proxy", {})
            if proxy.get("early_stopping") and _never_acts(proxy):
                proxy["early_stopping"] = None
                connection.execute(sa.update(table).where(table.c.id == key).values(settings=changed))


def _never_acts(settings: dict[str, Any]) -> bool:
    tokens, rule = settings["train_tokens"], settings["early_stopping"]
    step = settings["batch_sequences"] * settings["model"]["context"]
    measured = {-(-asked // step) * step for asked in settings["measure_at_tokens"]}
    last = tokens // step * step
    return not any(rule["after_fraction"] * tokens <= at < last for at in measured)


def _table(name: str) -> sa.Table:
    return sa.Table(name, sa.MetaData(), autoload_with=op.get_bind())
