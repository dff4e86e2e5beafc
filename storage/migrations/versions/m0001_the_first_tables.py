"""The first tables, and the row of the embedded pack: its name and that it has 26 labels, until an engine says more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.dialects import Whole, partial

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what is new."""
    op.create_table(
        "audit",
        sa.Column("id", Whole, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("surface", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=True),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "cursor",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("event", Whole, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursor")),
    )
    op.create_table(
        "engine",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("pid", Whole, nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("boot", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("dtype", sa.String(), nullable=False),
        sa.Column("packs", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("beat", Whole, server_default="0", nullable=False),
        sa.Column("beat_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_engine")),
    )
    op.create_table(
        "event",
        sa.Column("id", Whole, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('cancel_requested', 'cancelled', 'completed', 'engine_gone', 'engine_ready', 'failed', "
            "'progressed', 'queued', 'requeued', 'started')",
            name=op.f("ck_event_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_job"), ["job"], unique=False)

    op.create_table(
        "flag",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_flag")),
    )
    op.create_table(
        "guild",
        sa.Column("id", Whole, nullable=False),
        sa.Column("surface", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("service", Whole, server_default="0", nullable=False),
        sa.Column("last", Whole, server_default="0", nullable=False),
        sa.Column("weight", sa.Float(), server_default="1", nullable=False),
        sa.CheckConstraint("weight > 0", name=op.f("ck_guild_weight")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guild")),
        sa.UniqueConstraint("surface", "name", name=op.f("uq_guild_surface_name")),
    )
    pack = op.create_table(
        "pack",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("labels", Whole, nullable=False),
        sa.Column("label_names", sa.JSON(), nullable=False),
        sa.Column("methods", sa.JSON(), nullable=False),
        sa.Column("resolution", Whole, nullable=False),
        sa.Column("offered", sa.Boolean(), nullable=False),
        sa.Column("seconds_per_candidate", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pack")),
    )
    op.create_table(
        "user",
        sa.Column("id", Whole, nullable=False),
        sa.Column("surface", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("weight", sa.Float(), server_default="1", nullable=False),
        sa.Column("queued_limit", Whole, nullable=True),
        sa.Column("banned", sa.Boolean(), server_default="0", nullable=False),
        sa.CheckConstraint("queued_limit >= 0", name=op.f("ck_user_queued_limit")),
        sa.CheckConstraint("weight > 0", name=op.f("ck_user_weight")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("surface", "user", name=op.f("uq_user_surface_user")),
    )
    op.create_table(
        "flow",
        sa.Column("id", Whole, nullable=False),
        sa.Column("guild_id", Whole, nullable=False),
        sa.Column("user_id", Whole, nullable=False),
        sa.Column("service", Whole, server_default="0", nullable=False),
        sa.Column("last", Whole, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["guild_id"], ["guild.id"], name=op.f("fk_flow_guild_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_flow_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flow")),
        sa.UniqueConstraint("guild_id", "user_id", name=op.f("uq_flow_guild_id_user_id")),
    )
    with op.batch_alter_table("flow", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_flow_last"), ["last"], unique=False)
        batch_op.create_index(batch_op.f("ix_flow_user_id"), ["user_id"], unique=False)

    op.create_table(
        "job",
        sa.Column("seq", Whole, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("flow_id", Whole, nullable=False),
        sa.Column("event_key", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=True),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("pack", sa.String(), nullable=False),
        sa.Column("reply_to", sa.String(), nullable=True),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("again_of", sa.String(), nullable=True),
        sa.Column("identical", sa.Boolean(), nullable=True),
        sa.Column("difference", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("recipe", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("recipe_digest", sa.String(), nullable=True),
        sa.Column("trace", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("token", Whole, server_default="0", nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("attempt", Whole, server_default="0", nullable=False),
        sa.Column("strikes", Whole, server_default="0", nullable=False),
        sa.Column("solo", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("cancel_by", sa.String(), nullable=True),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("charged_user", Whole, server_default="0", nullable=False),
        sa.Column("charged_guild", Whole, server_default="0", nullable=False),
        sa.Column("used", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("first_image_at", sa.Float(), nullable=True),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('cancelled', 'completed', 'failed'))", name=op.f("ck_job_finished")
        ),
        sa.CheckConstraint("(owner IS NOT NULL) = (state = 'running')", name=op.f("ck_job_owner")),
        sa.CheckConstraint("(reason IS NOT NULL) = (state = 'failed')", name=op.f("ck_job_failed")),
        sa.CheckConstraint("reason IN ('crashed', 'error', 'unsupported')", name=op.f("ck_job_reason")),
        sa.CheckConstraint("state != 'running' OR (started_at IS NOT NULL AND token > 0)", name=op.f("ck_job_running")),
        sa.CheckConstraint(
            "state = 'running' OR (charged_user = 0 AND charged_guild = 0)", name=op.f("ck_job_settled")
        ),
        sa.CheckConstraint(
            "state IN ('cancelled', 'completed', 'failed', 'queued', 'running')", name=op.f("ck_job_state")
        ),
        sa.CheckConstraint("cost > 0", name=op.f("ck_job_cost")),
        sa.ForeignKeyConstraint(["again_of"], ["job.id"], name=op.f("fk_job_again_of")),
        sa.ForeignKeyConstraint(["flow_id"], ["flow.id"], name=op.f("fk_job_flow_id")),
        sa.ForeignKeyConstraint(["parent"], ["job.id"], name=op.f("fk_job_parent")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_job")),
        sa.UniqueConstraint("event_key", name=op.f("uq_job_event_key")),
        sa.UniqueConstraint("id", name=op.f("uq_job_id")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_finished", ["finished_at"], unique=False, **partial("finished_at IS NOT NULL"))
        batch_op.create_index("ix_job_flow", ["flow_id"], unique=False)
        batch_op.create_index("ix_job_head", ["flow_id", "seq"], unique=False, **partial("state = 'queued'"))
        batch_op.create_index("ix_job_running", ["owner", "flow_id"], unique=False, **partial("state = 'running'"))

    op.create_table(
        "candidate",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("number", Whole, nullable=False),
        sa.Column("label", sa.String(), nullable=True),
        sa.Column("clip_score", sa.Float(), nullable=True),
        sa.Column("augclip_score", sa.Float(), nullable=True),
        sa.Column("judge_score", sa.Float(), nullable=True),
        sa.Column("embedding", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_candidate_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "number", name=op.f("pk_candidate")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "image",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("place", Whole, nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("pixels_sha256", sa.String(), nullable=False),
        sa.Column("width", Whole, nullable=False),
        sa.Column("height", Whole, nullable=False),
        sa.Column("candidate", Whole, nullable=False),
        sa.Column("label", sa.String(), nullable=True),
        sa.Column("clip_score", sa.Float(), nullable=True),
        sa.Column("augclip_score", sa.Float(), nullable=True),
        sa.Column("judge_score", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_image_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "place", name=op.f("pk_image")),
    )
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_image_sha256"), ["sha256"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("id", Whole, nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("surface", sa.String(), nullable=False),
        sa.Column("reply_to", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("attempts", Whole, server_default="0", nullable=False),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("retry_at", sa.Float(), nullable=True),
        sa.Column("sent_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_outbox_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("job", name=op.f("uq_outbox_job")),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index("ix_outbox_unsent", ["surface", "id"], unique=False, **partial("sent_at IS NULL"))

    op.bulk_insert(
        pack,
        [
            {
                "name": "embedded",
                "digest": None,
                "labels": 26,
                "label_names": [],
                "methods": ["search", "fusedream"],
                "resolution": 64,
                "offered": True,
                "seconds_per_candidate": None,
            }
        ],
    )


def downgrade() -> None:
    """Drop it again."""
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_index("ix_outbox_unsent", **partial("sent_at IS NULL"))

    op.drop_table("outbox")
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_image_sha256"))

    op.drop_table("image")
    op.drop_table("candidate")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index("ix_job_running", **partial("state = 'running'"))
        batch_op.drop_index("ix_job_head", **partial("state = 'queued'"))
        batch_op.drop_index("ix_job_flow")
        batch_op.drop_index("ix_job_finished", **partial("finished_at IS NOT NULL"))

    op.drop_table("job")
    with op.batch_alter_table("flow", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_flow_user_id"))
        batch_op.drop_index(batch_op.f("ix_flow_last"))

    op.drop_table("flow")
    op.drop_table("user")
    op.drop_table("pack")
    op.drop_table("guild")
    op.drop_table("flag")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_event_job"))

    op.drop_table("event")
    op.drop_table("engine")
    op.drop_table("cursor")
    op.drop_table("audit")
