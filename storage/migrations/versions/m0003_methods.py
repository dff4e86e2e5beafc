"""Which methods the embedded pack has, an engine says: what an earlier one said, and the first row, know too few."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0005"
branch_labels = None
depends_on = None

pack = sa.table("pack", sa.column("name", sa.String()), sa.column("methods", sa.JSON()))


def upgrade() -> None:
    """None named: all are taken on, until an engine publishes its own."""
    op.execute(pack.update().where(pack.c.name == "embedded").values(methods=[]))
