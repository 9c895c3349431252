"""Keys, events, idempotent calls, schedules, imports, bindings; the history of attempts; budgets of studies.

Rows of before get budgets without a limit, targets without a definition and agents that do not drain.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("transaction", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=100), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("study_id", sa.Uuid(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events") as batch_op:
        batch_op.create_index("ix_events_order", ["transaction", "seq"], unique=False)
        batch_op.create_index("ix_events_study", ["study_id", "transaction", "seq"], unique=False)

    op.create_table(
        "idempotent_calls",
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotent_calls")),
    )
    with op.batch_alter_table("idempotent_calls") as batch_op:
        batch_op.create_index("ix_idempotent_calls_age", ["created_at"], unique=False)

    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_api_keys_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("format", sa.String(length=50), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_imports_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    with op.batch_alter_table("imports") as batch_op:
        batch_op.create_index("ix_imports_page", ["study_id", "id"], unique=False)

    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("cron", sa.String(length=200), nullable=False),
        sa.Column("time_zone", sa.String(length=100), nullable=False),
        sa.Column(
            "missed", sa.Enum("skip", "once", "all", name="missed", native_enum=False, length=20), nullable=False
        ),
        sa.Column("settings", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_schedules_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    with op.batch_alter_table("schedules") as batch_op:
        batch_op.create_index("ix_schedules_due", ["next_at"], unique=False)
        batch_op.create_index("ix_schedules_page", ["study_id", "id"], unique=False)

    op.create_table(
        "bindings",
        sa.Column("domain_set_id", sa.Uuid(), nullable=False),
        sa.Column("trainer", sa.String(length=100), nullable=False),
        sa.Column("paths", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("options", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_set_id"], ["domain_sets.id"], name=op.f("fk_bindings_domain_set_id_domain_sets")
        ),
        sa.PrimaryKeyConstraint("domain_set_id", "trainer", name=op.f("pk_bindings")),
    )
    op.create_table(
        "firings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "cause",
            sa.Enum("due", "missed", "skipped", "manual", name="firingcause", native_enum=False, length=20),
            nullable=False,
        ),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("waits_for", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_firings_job_id_jobs")),
        sa.ForeignKeyConstraint(["waits_for"], ["jobs.id"], name=op.f("fk_firings_waits_for_jobs")),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_firings_schedule_id_schedules"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
        sa.UniqueConstraint("schedule_id", "due_at", name=op.f("uq_firings_schedule_id_due_at")),
    )
    with op.batch_alter_table("firings") as batch_op:
        batch_op.create_index("ix_firings_page", ["schedule_id", "id"], unique=False)
        batch_op.create_index("ix_firings_waiting", ["waits_for"], unique=False)

    op.create_table(
        "logins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_logins_key_id_api_keys")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logins")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_logins_token_hash")),
    )
    op.create_table(
        "run_attempts",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("stack_size", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "outcome",
            sa.Enum(
                "succeeded",
                "failed",
                "preempted",
                "stale",
                "cancelled",
                "pruned",
                name="attemptoutcome",
                native_enum=False,
                length=20,
            ),
            nullable=True,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_run_attempts_agent_id_agents")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_attempts_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "attempt", name=op.f("pk_run_attempts")),
    )
    with op.batch_alter_table("agents") as batch_op:
        batch_op.add_column(sa.Column("draining", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("study_id", sa.Uuid(), nullable=True))

    with op.batch_alter_table("recommendations") as batch_op:
        batch_op.add_column(sa.Column("model_params", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("train_tokens", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("pareto", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("details", sa.JSON(none_as_null=True), nullable=True))

    with op.batch_alter_table("runs") as batch_op:
        batch_op.add_column(sa.Column("external_id", sa.String(length=300), nullable=True))
        batch_op.add_column(sa.Column("import_id", sa.Uuid(), nullable=True))
        batch_op.create_index("ix_runs_external", ["study_id", "external_id"], unique=True)
        batch_op.create_index("ix_runs_agent", ["agent_id", "id"], unique=False)
        batch_op.create_index("ix_runs_batch", ["state", "batch_key", "queue_rank", "id"], unique=False)
        batch_op.create_index("ix_runs_corpus", ["state", "corpus_hash", "queue_rank", "id"], unique=False)
        batch_op.create_index("ix_runs_state", ["study_id", "state", "id"], unique=False)
        batch_op.create_index("ix_runs_recommendation", ["recommendation_id", "id"], unique=False)
        batch_op.drop_index("ix_runs_count")
        batch_op.drop_index("ix_runs_verification")

    with op.batch_alter_table("studies") as batch_op:
        batch_op.add_column(sa.Column("budget_flops", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("budget_gpu_hours", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("spent_flops", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("spent_gpu_seconds", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("adopted_recommendation_id", sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column("adopted_at", sa.DateTime(timezone=True), nullable=True))

    with op.batch_alter_table("domain_sets") as batch_op:
        batch_op.add_column(sa.Column("renames", sa.JSON(none_as_null=True), nullable=False, server_default="{}"))

    with op.batch_alter_table("fits") as batch_op:
        batch_op.add_column(sa.Column("runs_left_out", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("targets_used", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("targets_left_out", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("runs_excluded", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("runs_filtered", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("run_filter", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("findings", sa.JSON(none_as_null=True), nullable=True))
    # Until now no study could get another target.
    op.execute("UPDATE fits SET targets_used = (SELECT count(*) FROM targets WHERE targets.study_id = fits.study_id)")

    with op.batch_alter_table("targets") as batch_op:
        batch_op.add_column(sa.Column("definition", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("definition_version", sa.String(length=50), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("targets") as batch_op:
        batch_op.drop_column("definition_version")
        batch_op.drop_column("definition")

    with op.batch_alter_table("fits") as batch_op:
        batch_op.drop_column("findings")
        batch_op.drop_column("run_filter")
        batch_op.drop_column("runs_filtered")
        batch_op.drop_column("runs_excluded")
        batch_op.drop_column("targets_left_out")
        batch_op.drop_column("targets_used")
        batch_op.drop_column("runs_left_out")

    with op.batch_alter_table("domain_sets") as batch_op:
        batch_op.drop_column("renames")

    with op.batch_alter_table("studies") as batch_op:
        batch_op.drop_column("adopted_at")
        batch_op.drop_column("adopted_recommendation_id")
        batch_op.drop_column("spent_gpu_seconds")
        batch_op.drop_column("spent_flops")
        batch_op.drop_column("budget_gpu_hours")
        batch_op.drop_column("budget_flops")

    with op.batch_alter_table("runs") as batch_op:
        batch_op.create_index("ix_runs_verification", ["recommendation_id"], unique=False)
        batch_op.create_index("ix_runs_count", ["study_id", "state"], unique=False)
        batch_op.drop_index("ix_runs_recommendation")
        batch_op.drop_index("ix_runs_state")
        batch_op.drop_index("ix_runs_corpus")
        batch_op.drop_index("ix_runs_batch")
        batch_op.drop_index("ix_runs_agent")
        batch_op.drop_index("ix_runs_external")
        batch_op.drop_column("import_id")
        batch_op.drop_column("external_id")

    with op.batch_alter_table("recommendations") as batch_op:
        batch_op.drop_column("details")
        batch_op.drop_column("pareto")
        batch_op.drop_column("train_tokens")
        batch_op.drop_column("model_params")

    with op.batch_alter_table("agents") as batch_op:
        batch_op.drop_column("study_id")
        batch_op.drop_column("draining")

    op.drop_table("run_attempts")
    op.drop_table("logins")
    with op.batch_alter_table("firings") as batch_op:
        batch_op.drop_index("ix_firings_waiting")
        batch_op.drop_index("ix_firings_page")

    op.drop_table("firings")
    op.drop_table("bindings")
    with op.batch_alter_table("schedules") as batch_op:
        batch_op.drop_index("ix_schedules_page")
        batch_op.drop_index("ix_schedules_due")

    op.drop_table("schedules")
    with op.batch_alter_table("imports") as batch_op:
        batch_op.drop_index("ix_imports_page")

    op.drop_table("imports")
    op.drop_table("api_keys")
    with op.batch_alter_table("idempotent_calls") as batch_op:
        batch_op.drop_index("ix_idempotent_calls_age")

    op.drop_table("idempotent_calls")
    with op.batch_alter_table("events") as batch_op:
        batch_op.drop_index("ix_events_study")
        batch_op.drop_index("ix_events_order")

    op.drop_table("events")
