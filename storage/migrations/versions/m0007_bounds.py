"""What admins allow persons, roles and guilds, and how much of somebody may run at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.dialects import Whole

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what is new."""
    op.create_table(
        "bound",
        sa.Column("surface", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.Float(), nullable=False),
        sa.CheckConstraint("kind IN ('cooldown', 'queued', 'running', 'seconds')", name=op.f("ck_bound_kind")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_bound_amount")),
        sa.PrimaryKeyConstraint("surface", "subject", "kind", name=op.f("pk_bound")),
    )
    op.add_column("flow", sa.Column("running_limit", Whole, nullable=True))
    op.add_column("guild", sa.Column("running_limit", Whole, nullable=True))
