"""Models that are watched: observations, comparisons, feedback, pauses, baselines and drift."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UID = sa.String(64)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TABLES = (
    "observation",
    "comparison",
    "feedback",
    "correction",
    "model_pause",
    "model_baseline",
    "model_drift",
)
_OBSERVATION_OF = ("model_id", "model_version", "scanner", "protocol", "at")


def upgrade() -> None:
    """Add the tables."""
    _create_tables_of_jobs()
    _create_tables_of_models()


def _create_tables_of_jobs() -> None:
    op.create_table(
        "observation",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("job_id", _ID, sa.ForeignKey("job.id"), nullable=False, unique=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("scanner", sa.Text, nullable=False),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("measures", sa.JSON, nullable=False),
    )
    op.create_index("ix_observation_of", "observation", list(_OBSERVATION_OF))
    op.create_table(
        "comparison",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("champion_job_id", _ID, sa.ForeignKey("job.id"), nullable=False),
        sa.Column("challenger_job_id", _ID, sa.ForeignKey("job.id"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("measures", sa.JSON, nullable=False),
        sa.UniqueConstraint("champion_job_id", "challenger_job_id"),
    )
    op.create_index("ix_comparison_challenger_job_id", "comparison", ["challenger_job_id"])
    op.create_table(
        "feedback",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("job_id", _ID, sa.ForeignKey("job.id"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("given_by", sa.Text, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("sop_instance_uid", _UID),
        sa.Column("remark", sa.Text, nullable=False),
        sa.Column("measures", sa.JSON, nullable=False),
        sa.UniqueConstraint("job_id", "sop_instance_uid"),
    )
    op.create_index("ix_feedback_job_id", "feedback", ["job_id"])
    op.create_table(
        "correction",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("study_instance_uid", _UID, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_correction_study_instance_uid", "correction", ["study_instance_uid"])
    op.create_index("ix_correction_state", "correction", ["state"])


def _create_tables_of_models() -> None:
    op.create_table(
        "model_pause",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("set_by", sa.Text, nullable=False),
        sa.UniqueConstraint("model_id", "model_version"),
    )
    op.create_table(
        "model_baseline",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("set_by", sa.Text, nullable=False),
        sa.Column("set_at", sa.Float, nullable=False),
        sa.UniqueConstraint("model_id", "model_version"),
    )
    op.create_table(
        "model_drift",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("scanner", sa.Text, nullable=False),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("looked_at", sa.Float, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("psi_max", sa.Float, nullable=False),
        sa.UniqueConstraint("model_id", "model_version", "scanner", "protocol"),
    )


def downgrade() -> None:
    """Drop them again."""
    for name in reversed(_TABLES):
        op.drop_table(name)
