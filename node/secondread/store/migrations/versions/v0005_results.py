"""Forms of results in the outbox, and which jobs are about the same patient."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    with op.batch_alter_table("outbox") as outbox:
        outbox.add_column(sa.Column("level", sa.Integer, nullable=False, server_default="0"))
        outbox.add_column(sa.Column("kind", sa.String(16), nullable=False, server_default=""))
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("patient_mark", sa.String(64), nullable=False, server_default=""))
    op.create_index("ix_job_of_patient", "job", ["patient_mark", "model_id"])


def downgrade() -> None:
    """Drop them again."""
    op.drop_index("ix_job_of_patient", "job")
    with op.batch_alter_table("job") as job:
        job.drop_column("patient_mark")
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_column("kind")
        outbox.drop_column("level")
