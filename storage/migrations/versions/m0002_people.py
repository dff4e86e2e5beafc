"""What people decide about pictures and about themselves: votes, defaults of their own, and what is withdrawn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.dialects import Whole

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what is new."""
    op.create_table(
        "withdrawal",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.CheckConstraint("kind IN ('deleted', 'withheld')", name=op.f("ck_withdrawal_kind")),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_withdrawal_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_withdrawal")),
    )
    op.create_table(
        "vote",
        sa.Column("user_id", Whole, nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_vote_job"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_vote_user_id")),
        sa.PrimaryKeyConstraint("user_id", "job", name=op.f("pk_vote")),
    )
    with op.batch_alter_table("vote", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vote_job"), ["job"], unique=False)

    op.create_table(
        "preference",
        sa.Column("user_id", Whole, nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_preference_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_preference")),
    )
