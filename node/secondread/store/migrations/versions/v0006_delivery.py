"""Delivery with proof, telling others, fetching, worklists and holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UID = sa.String(64)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OUTBOX = ("urgency", "status", "remark", "proof", "prove_at", "proof_tries", "sendings")
_OUTBOX_TIMES = ("sent_at", "safe_at", "purged_at")
_TURN = ("destination", "state", "urgency", "job_id", "sequence")
_TABLES = ("line", "enquiry", "telling", "telling_mark", "fetch", "workitem", "hold")


def upgrade() -> None:
    """Add columns and tables."""
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_index("ix_outbox_due")
        outbox.add_column(sa.Column("urgency", sa.Integer, nullable=False, server_default="0"))
        outbox.add_column(sa.Column("status", sa.Integer))
        outbox.add_column(sa.Column("remark", sa.Text, nullable=False, server_default=""))
        outbox.add_column(sa.Column("proof", sa.String(16), nullable=False, server_default=""))
        outbox.add_column(sa.Column("prove_at", sa.Float))
        outbox.add_column(sa.Column("proof_tries", sa.Integer, nullable=False, server_default="0"))
        outbox.add_column(sa.Column("sendings", sa.Integer, nullable=False, server_default="0"))
        for name in _OUTBOX_TIMES:
            outbox.add_column(sa.Column(name, sa.Float))
    # The order of sending is one index: a backlog of any length is claimed from its beginning.
    op.execute("UPDATE outbox SET urgency = (SELECT urgency FROM job WHERE job.id = outbox.job_id)")
    op.create_index("ix_outbox_due", "outbox", ["destination", "state", "next_at"])
    op.create_index("ix_outbox_turn", "outbox", list(_TURN))
    op.create_index("ix_outbox_proof", "outbox", ["destination", "state", "prove_at"])
    with op.batch_alter_table("instance") as instance:
        instance.add_column(sa.Column("purged_at", sa.Float))
    _create_tables()


def _create_tables() -> None:
    op.create_table(
        "line",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "enquiry",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("transaction_uid", _UID, nullable=False, unique=True),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("ae_title", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("objects", sa.JSON, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("reports", sa.JSON, nullable=False),
    )
    op.create_index("ix_enquiry_due", "enquiry", ["state", "due_at"])
    op.create_table(
        "telling",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("study_id", _ID, sa.ForeignKey("study.id")),
        sa.Column("job_id", _ID, sa.ForeignKey("job.id")),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.Float),
        sa.UniqueConstraint("target", "key"),
    )
    op.create_index("ix_telling_due", "telling", ["state", "next_at"])
    op.create_table(
        "telling_mark",
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("trail_id", _ID, nullable=False),
    )
    op.create_table(
        "fetch",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("study_id", _ID, sa.ForeignKey("study.id")),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("study_instance_uid", _UID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("objects", sa.Integer),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.Float),
        sa.UniqueConstraint("study_id", "source", "kind", "study_instance_uid"),
    )
    op.create_index("ix_fetch_due", "fetch", ["state", "next_at"])
    op.create_index("ix_fetch_study_id", "fetch", ["study_id"])
    op.create_index("ix_fetch_study_instance_uid", "fetch", ["study_instance_uid"])
    op.create_table(
        "workitem",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("worklist", sa.Text, nullable=False),
        sa.Column("workitem_uid", _UID, nullable=False),
        sa.Column("transaction_uid", _UID, nullable=False),
        sa.Column("study_instance_uid", _UID, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.Float),
        sa.UniqueConstraint("worklist", "workitem_uid"),
    )
    op.create_index("ix_workitem_due", "workitem", ["state", "next_at"])
    op.create_index("ix_workitem_study_instance_uid", "workitem", ["study_instance_uid"])
    op.create_table(
        "hold",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("study_id", _ID, sa.ForeignKey("study.id"), nullable=False, unique=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("placed_by", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Drop them again."""
    for name in reversed(_TABLES):
        op.drop_table(name)
    with op.batch_alter_table("instance") as instance:
        instance.drop_column("purged_at")
    op.drop_index("ix_outbox_proof", "outbox")
    op.drop_index("ix_outbox_turn", "outbox")
    op.drop_index("ix_outbox_due", "outbox")
    with op.batch_alter_table("outbox") as outbox:
        for name in (*_OUTBOX, *_OUTBOX_TIMES):
            outbox.drop_column(name)
    op.create_index("ix_outbox_due", "outbox", ["state", "next_at"])
