"""Several bots on one store: who sends a letter, and until when. On a server, busy tables are kept lean."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0003"
branch_labels = None
depends_on = None

# Vacuumed when a fiftieth of the rows is dead, not a fifth; and room in each page, so that an update stays in it.
BUSY = ("job", "event", "outbox", "engine", "flow", "guild", "checkpoint")
LEAN = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, "
    "autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1, fillfactor = 80"
)


def upgrade() -> None:
    """Add what is new."""
    on_server = op.get_bind().dialect.name == "postgresql"
    recreate: Literal["never", "always"] = "never" if on_server else "always"  # as if they had always been there
    with op.batch_alter_table("outbox", schema=None, recreate=recreate) as batch_op:
        batch_op.add_column(sa.Column("taken_by", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("taken_until", sa.Float(), nullable=True))
    if on_server:
        for table in BUSY:
            op.execute(f"ALTER TABLE {table} SET ({LEAN})")
