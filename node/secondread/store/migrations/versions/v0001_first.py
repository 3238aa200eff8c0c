"""The first ledger: instances, studies, jobs, outbox and trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UID = sa.String(64)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _claim() -> tuple[sa.Column[str], sa.Column[float]]:
    return sa.Column("claimed_by", sa.Text), sa.Column("claimed_until", sa.Float)


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "instance",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("sop_class_uid", _UID, nullable=False),
        sa.Column("study_instance_uid", _UID, nullable=False, index=True),
        sa.Column("series_instance_uid", _UID, nullable=False),
        sa.Column("transfer_syntax_uid", _UID, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
    )
    op.create_table(
        "study",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("study_instance_uid", _UID, nullable=False, unique=True),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("first_at", sa.Float, nullable=False),
        sa.Column("last_at", sa.Float, nullable=False),
        sa.Column("quiet_s", sa.Float, nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        *_claim(),
    )
    op.create_table(
        "job",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(32), nullable=False, unique=True),
        sa.Column("study_id", _ID, sa.ForeignKey("study.id"), nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("series_instance_uid", _UID, nullable=False),
        sa.Column("input_digest", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("candidates", sa.JSON, nullable=False),
        sa.Column("checks", sa.JSON, nullable=False),
        *_claim(),
        sa.UniqueConstraint("study_id", "rule", "model_id", "model_version", "input_digest"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("job_id", _ID, sa.ForeignKey("job.id"), nullable=False, index=True),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("sop_instance_uid", _UID, nullable=False),
        sa.Column("sop_class_uid", _UID, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        *_claim(),
        sa.UniqueConstraint("destination", "sop_instance_uid"),
    )
    op.create_index("ix_outbox_due", "outbox", ["state", "next_at"])
    op.create_table(
        "trail",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("event", sa.String(32), nullable=False, index=True),
        sa.Column("study_id", _ID, index=True),
        sa.Column("job_id", _ID),
        sa.Column("before", sa.String(16), nullable=False),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    """Drop every table."""
    for name in ("trail", "outbox", "job", "study", "instance"):
        op.drop_table(name)
