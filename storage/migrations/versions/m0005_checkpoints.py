"""Where a long dream is, so that another engine can go on with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.dialects import Whole

revision = "0005"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what is new."""
    op.create_table(
        "checkpoint",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("recipe_digest", sa.String(), nullable=False),
        sa.Column("bank", Whole, nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_checkpoint_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_checkpoint")),
    )
