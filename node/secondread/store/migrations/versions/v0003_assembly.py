"""What assembly keeps: summaries of series, pauses between objects, versions and parts of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UID = sa.String(64)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the columns and tables; a job that is there is the first version of itself."""
    with op.batch_alter_table("study") as table:
        table.add_column(sa.Column("released_at", sa.Float))
        table.add_column(sa.Column("ready", sa.JSON))
        table.add_column(sa.Column("next_look_at", sa.Float))
        table.add_column(sa.Column("quiet_from", sa.Float))
        table.add_column(sa.Column("rounds", sa.JSON, nullable=False, server_default="{}"))
        table.add_column(sa.Column("answers", sa.JSON, nullable=False, server_default="[]"))
    with op.batch_alter_table("job") as table:
        table.add_column(sa.Column("part", sa.Text, nullable=False, server_default=""))
        table.add_column(sa.Column("sources", sa.JSON, nullable=False, server_default="[]"))
        table.add_column(sa.Column("version", sa.Integer, nullable=False, server_default="1"))
        table.add_column(sa.Column("predecessor_id", _ID))
        table.add_column(sa.Column("urgency", sa.Integer, nullable=False, server_default="0"))
        table.add_column(sa.Column("shadow", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "series",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("study_id", _ID, sa.ForeignKey("study.id"), nullable=False),
        sa.Column("series_instance_uid", _UID, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("summary", sa.JSON, nullable=False),
        sa.UniqueConstraint("study_id", "series_instance_uid"),
    )
    op.create_table(
        "pause",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("study_id", _ID, sa.ForeignKey("study.id"), nullable=False, unique=True),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("protocol", sa.String(64), nullable=False),
        sa.Column("longest_s", sa.Float, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("ix_pause_of", "pause", ["peer", "protocol", "at"])
    op.create_table(
        "archive_count",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("study_id", _ID, sa.ForeignKey("study.id"), nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("objects", sa.Integer),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.UniqueConstraint("study_id", "destination"),
    )


def downgrade() -> None:
    """Drop them again."""
    for name in ("archive_count", "pause", "series"):
        op.drop_table(name)
    with op.batch_alter_table("job") as table:
        for name in ("shadow", "urgency", "predecessor_id", "version", "sources", "part"):
            table.drop_column(name)
    with op.batch_alter_table("study") as table:
        for name in ("answers", "rounds", "quiet_from", "next_look_at", "ready", "released_at"):
            table.drop_column(name)
