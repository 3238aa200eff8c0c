"""The crosswalk of exports: keys by their ids, projects, and pairs, all of them sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "crosswalk_key",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("retired_at", sa.Float),
    )
    op.create_table(
        "export_project",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
    )
    op.create_table(
        "crosswalk",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("project_id", _ID, sa.ForeignKey("export_project.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("original_mark", sa.LargeBinary(16), nullable=False, unique=True),
        sa.Column("pseudonym_mark", sa.LargeBinary(16), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_crosswalk_project_id", "crosswalk", ["project_id"])
    op.create_index("ix_crosswalk_pseudonym_mark", "crosswalk", ["pseudonym_mark"])
    op.create_index("ix_crosswalk_key_id", "crosswalk", ["key_id"])


def downgrade() -> None:
    """Drop them again."""
    for name in ("crosswalk", "export_project", "crosswalk_key"):
        op.drop_table(name)
