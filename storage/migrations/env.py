"""Alembic's door: run the migrations on the connection that `storage.migrations.upgrade` hands in."""

from __future__ import annotations

from alembic import context

from storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a column: the table is copied
)
with context.begin_transaction():
    context.run_migrations()
