"""What intake records: facts of each object, refusals, commitment requests and notices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UID = sa.String(64)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the columns and tables; objects that are there keep the values of 'not known'."""
    with op.batch_alter_table("instance") as table:
        table.add_column(sa.Column("urgency", sa.Integer, nullable=False, server_default="0"))
        table.add_column(sa.Column("data_offset", sa.Integer, nullable=False, server_default="0"))
        table.add_column(
            sa.Column("pixel_offset", sa.BigInteger, nullable=False, server_default="-1")
        )
        table.add_column(
            sa.Column("pixel_length", sa.BigInteger, nullable=False, server_default="-1")
        )
        table.add_column(sa.Column("facts", sa.JSON, nullable=False, server_default="{}"))
    with op.batch_alter_table("study") as table:
        table.add_column(sa.Column("urgency", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "refusal",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("calling", sa.String(64), nullable=False),
        sa.Column("called", sa.String(64), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("certificate_sha256", sa.String(64), nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("first_at", sa.Float, nullable=False),
        sa.Column("last_at", sa.Float, nullable=False, index=True),
        sa.Column("times", sa.Integer, nullable=False),
        sa.UniqueConstraint("code", "calling", "called", "address", "certificate_sha256"),
    )
    op.create_table(
        "commitment",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("transaction_uid", _UID, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("called_ae_title", sa.String(16), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("committed", sa.JSON, nullable=False),
        sa.Column("failed", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.UniqueConstraint("transaction_uid", "peer"),
    )
    op.create_index("ix_commitment_due", "commitment", ["state", "next_at"])
    op.create_table(
        "notice",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("sop_instance_uid", _UID, nullable=False),
        sa.Column("study_instance_uid", _UID, nullable=False, index=True),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("objects", sa.JSON, nullable=False),
        sa.UniqueConstraint("kind", "sop_instance_uid", "study_instance_uid"),
    )


def downgrade() -> None:
    """Drop them again."""
    for name in ("notice", "commitment", "refusal"):
        op.drop_table(name)
    with op.batch_alter_table("study") as table:
        table.drop_column("urgency")
    with op.batch_alter_table("instance") as table:
        for name in ("facts", "pixel_length", "pixel_offset", "data_offset", "urgency"):
            table.drop_column(name)
