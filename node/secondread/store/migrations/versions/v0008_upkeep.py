"""Corrections that are looked at again, and the jobs of a rule by their age."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column and an index."""
    with op.batch_alter_table("correction") as correction:
        correction.add_column(sa.Column("next_at", sa.Float, nullable=False, server_default="0"))
    # A challenger's jobs of the last weeks are asked for every few seconds, in ledgers of any age.
    op.create_index("ix_job_of_rule", "job", ["rule", "created_at"])


def downgrade() -> None:
    """Drop them again."""
    op.drop_index("ix_job_of_rule", "job")
    with op.batch_alter_table("correction") as correction:
        correction.drop_column("next_at")
