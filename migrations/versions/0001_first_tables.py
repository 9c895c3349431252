"""The first tables: studies and what belongs to them, agents and their runs, the service's own jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("hostname", sa.String(length=300), nullable=False),
        sa.Column("device", sa.String(length=300), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column(
            "state",
            sa.Enum("queued", "running", "succeeded", "failed", name="jobstate", native_enum=False, length=20),
            nullable=False,
        ),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=300), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.create_index("ix_jobs_queue", ["state", "id"], unique=False)

    op.create_table(
        "studies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("objective", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("constraints", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
    )
    op.create_table(
        "domain_sets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("domains", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_domain_sets_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_sets")),
        sa.UniqueConstraint("study_id", "version", name=op.f("uq_domain_sets_study_id_version")),
    )
    op.create_table(
        "targets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.String(length=50), nullable=False),
        sa.Column("direction", sa.String(length=20), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("family", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_targets_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
        sa.UniqueConstraint("study_id", "name", name=op.f("uq_targets_study_id_name")),
    )
    op.create_table(
        "fits",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("domain_set_id", sa.Uuid(), nullable=False),
        sa.Column("laws", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("folds", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("runs_used", sa.Integer(), nullable=False),
        sa.Column("runs_hash", sa.String(length=64), nullable=False),
        sa.Column("model_params", sa.Double(), nullable=True),
        sa.Column("train_tokens", sa.Double(), nullable=True),
        sa.Column("run_ids", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("chosen_law", sa.String(length=100), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["domain_set_id"], ["domain_sets.id"], name=op.f("fk_fits_domain_set_id_domain_sets")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_fits_job_id_jobs")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_fits_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fits")),
        sa.UniqueConstraint("job_id", name=op.f("uq_fits_job_id")),
    )
    with op.batch_alter_table("fits") as batch_op:
        batch_op.create_index("ix_fits_page", ["study_id", "id"], unique=False)

    op.create_table(
        "law_results",
        sa.Column("fit_id", sa.Uuid(), nullable=False),
        sa.Column("law", sa.String(length=100), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("fidelity", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("out_of_fold", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("fitted", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["fit_id"], ["fits.id"], name=op.f("fk_law_results_fit_id_fits")),
        sa.PrimaryKeyConstraint("fit_id", "law", name=op.f("pk_law_results")),
    )
    op.create_table(
        "recommendations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("fit_id", sa.Uuid(), nullable=False),
        sa.Column("law", sa.String(length=100), nullable=False),
        sa.Column("objective", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("constraints", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("runs_hash", sa.String(length=64), nullable=False),
        sa.Column("stages", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("weights", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("predictions", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("solver_status", sa.String(length=50), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["fit_id"], ["fits.id"], name=op.f("fk_recommendations_fit_id_fits")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_recommendations_job_id_jobs")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_recommendations_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommendations")),
        sa.UniqueConstraint("job_id", name=op.f("uq_recommendations_job_id")),
    )
    with op.batch_alter_table("recommendations") as batch_op:
        batch_op.create_index("ix_recommendations_page", ["study_id", "id"], unique=False)

    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("domain_set_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("purpose", sa.String(length=50), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "leased",
                "succeeded",
                "failed",
                "cancelled",
                "pruned",
                name="runstate",
                native_enum=False,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column(
            "source",
            sa.Enum("proxy", "imported", "manual", "adaptive", name="runsource", native_enum=False, length=20),
            nullable=False,
        ),
        sa.Column("exclude_from_fit", sa.Boolean(), nullable=False),
        sa.Column("weights", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("settings", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("batch_key", sa.String(length=64), nullable=True),
        sa.Column("corpus_hash", sa.Text(), nullable=True),
        sa.Column("model_params", sa.BigInteger(), nullable=True),
        sa.Column("train_tokens", sa.BigInteger(), nullable=True),
        sa.Column("queue_rank", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("progress_tokens", sa.BigInteger(), nullable=False),
        sa.Column("losses", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("result", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("realised_weights", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("wall_seconds", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("recommendation_id", sa.Uuid(), nullable=True),
        sa.Column("arm", sa.String(length=50), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_runs_agent_id_agents")),
        sa.ForeignKeyConstraint(["domain_set_id"], ["domain_sets.id"], name=op.f("fk_runs_domain_set_id_domain_sets")),
        sa.ForeignKeyConstraint(
            ["recommendation_id"], ["recommendations.id"], name=op.f("fk_runs_recommendation_id_recommendations")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_runs_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs") as batch_op:
        batch_op.create_index("ix_runs_count", ["study_id", "state"], unique=False)
        batch_op.create_index("ix_runs_lease", ["state", "lease_expires_at"], unique=False)
        batch_op.create_index("ix_runs_page", ["study_id", "id"], unique=False)
        batch_op.create_index("ix_runs_queue", ["state", "queue_rank", "id"], unique=False)
        batch_op.create_index("ix_runs_verification", ["recommendation_id"], unique=False)

    op.create_table(
        "measurements",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("train_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("losses", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_measurements_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "attempt", "train_tokens", name=op.f("pk_measurements")),
    )


def downgrade() -> None:
    op.drop_table("measurements")
    with op.batch_alter_table("runs") as batch_op:
        batch_op.drop_index("ix_runs_verification")
        batch_op.drop_index("ix_runs_queue")
        batch_op.drop_index("ix_runs_page")
        batch_op.drop_index("ix_runs_lease")
        batch_op.drop_index("ix_runs_count")

    op.drop_table("runs")
    with op.batch_alter_table("recommendations") as batch_op:
        batch_op.drop_index("ix_recommendations_page")

    op.drop_table("recommendations")
    op.drop_table("law_results")
    with op.batch_alter_table("fits") as batch_op:
        batch_op.drop_index("ix_fits_page")

    op.drop_table("fits")
    op.drop_table("targets")
    op.drop_table("domain_sets")
    op.drop_table("studies")
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.drop_index("ix_jobs_queue")

    op.drop_table("jobs")
    op.drop_table("agents")
