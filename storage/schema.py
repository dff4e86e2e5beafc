"""The tables. CHECK constraints say again what `storage.job` says: the database refuses an impossible job.

Knows columns, constraints and indices, and which revision of the migrations they are; no statement and no connection.
A service counter is in millionths of a GPU-second divided by a weight: whole numbers, so that a refund is exact.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from storage.dialects import Whole, partial
from storage.events import Kind
from storage.job import FINAL, Reason, State, Withdrawn

HEAD = "0007"  # the newest revision in storage/migrations/versions; a test holds the two together

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, members: type[StrEnum] | frozenset[State]) -> str:
    return f"{column} IN ({', '.join(sorted(repr(member.value) for member in members))})"


def _json(name: str) -> Column[object]:
    return Column(name, JSON(none_as_null=True))


guild = Table(
    "guild",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("surface", String, nullable=False),
    Column("name", String, nullable=False),  # the surface's own id
    Column("service", Whole, nullable=False, server_default="0"),
    Column("last", Whole, nullable=False, server_default="0"),  # when it was served last, in claims
    Column("weight", Float, nullable=False, server_default="1"),
    Column("running_limit", Whole),  # as it was when somebody of it last asked; None: no bound
    UniqueConstraint("surface", "name"),
    CheckConstraint("weight > 0", name="weight"),
)

user = Table(
    "user",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("surface", String, nullable=False),
    Column("user", String, nullable=False),  # the surface's own id
    Column("name", String, nullable=False),  # as last seen
    Column("weight", Float, nullable=False, server_default="1"),
    Column("queued_limit", Whole),  # None: the settings' limit
    Column("banned", Boolean, nullable=False, server_default="0"),
    UniqueConstraint("surface", "user"),
    CheckConstraint("weight > 0", name="weight"),
    CheckConstraint("queued_limit >= 0", name="queued_limit"),
)

flow = Table(  # one user within one guild: what is served fairly
    "flow",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("guild_id", ForeignKey("guild.id"), nullable=False),
    Column("user_id", ForeignKey("user.id"), nullable=False),
    Column("service", Whole, nullable=False, server_default="0"),
    Column("last", Whole, nullable=False, server_default="0"),
    Column("running_limit", Whole),  # of the person, by the roles they last asked with
    UniqueConstraint("guild_id", "user_id"),
    Index(None, "user_id"),
    Index(None, "last"),
)

job = Table(
    "job",
    metadata,
    Column("seq", Whole, primary_key=True),  # order of arrival
    Column("id", String, nullable=False, unique=True),
    Column("flow_id", ForeignKey("flow.id"), nullable=False),
    Column("event_key", String, unique=True),
    Column("state", String, nullable=False),
    Column("reason", String),
    Column("message", String),
    Column("params", JSON, nullable=False),
    Column("pack", String, nullable=False),
    Column("reply_to", String),
    Column("parent", ForeignKey("job.id")),
    Column("again_of", ForeignKey("job.id")),
    Column("identical", Boolean),
    _json("difference"),
    Column("note", String),
    _json("recipe"),
    Column("recipe_digest", String),
    _json("trace"),
    Column("token", Whole, nullable=False, server_default="0"),
    Column("owner", String),
    Column("attempt", Whole, nullable=False, server_default="0"),
    Column("strikes", Whole, nullable=False, server_default="0"),
    Column("solo", Boolean, nullable=False, server_default="0"),
    Column("cancel_by", String),  # who asked a running job to stop
    Column("cost", Float, nullable=False),
    Column("charged_user", Whole, nullable=False, server_default="0"),  # on the counters now, to be settled
    Column("charged_guild", Whole, nullable=False, server_default="0"),
    Column("used", Float),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("first_image_at", Float),
    Column("finished_at", Float),
    CheckConstraint(_one_of("state", State), name="state"),
    CheckConstraint(_one_of("reason", Reason), name="reason"),
    CheckConstraint(f"(finished_at IS NOT NULL) = ({_one_of('state', FINAL)})", name="finished"),
    CheckConstraint("(owner IS NOT NULL) = (state = 'running')", name="owner"),
    CheckConstraint("(reason IS NOT NULL) = (state = 'failed')", name="failed"),
    CheckConstraint("state != 'running' OR (started_at IS NOT NULL AND token > 0)", name="running"),
    CheckConstraint("state = 'running' OR (charged_user = 0 AND charged_guild = 0)", name="settled"),
    CheckConstraint("cost > 0", name="cost"),
    Index("ix_job_head", "flow_id", "seq", **partial("state = 'queued'")),
    Index("ix_job_running", "owner", "flow_id", **partial("state = 'running'")),
    Index("ix_job_flow", "flow_id"),
    Index("ix_job_finished", "finished_at", **partial("finished_at IS NOT NULL")),
)

candidate = Table(
    "candidate",
    metadata,
    Column("job", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Whole, primary_key=True),
    Column("label", String),
    Column("clip_score", Float),
    Column("augclip_score", Float),
    Column("judge_score", Float),
    Column("embedding", LargeBinary),  # little-endian fp16
    sqlite_with_rowid=False,
)

image = Table(
    "image",
    metadata,
    Column("job", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("place", Whole, primary_key=True),  # 0 is the best
    Column("sha256", String, nullable=False, index=True),
    Column("pixels_sha256", String, nullable=False),
    Column("width", Whole, nullable=False),
    Column("height", Whole, nullable=False),
    Column("candidate", Whole, nullable=False),
    Column("label", String),
    Column("clip_score", Float),
    Column("augclip_score", Float),
    Column("judge_score", Float),
)

withdrawal = Table(  # a finished job whose pictures are not shown any more
    "withdrawal",
    metadata,
    Column("job", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String, nullable=False),
    Column("by", String, nullable=False),  # surface:user
    Column("at", Float, nullable=False),
    CheckConstraint(_one_of("kind", Withdrawn), name="kind"),
)

bound = Table(  # what admins allow; `storage.roles` knows the words
    "bound",
    metadata,
    Column("surface", String, primary_key=True),
    Column("subject", String, primary_key=True),  # person:ID, role:NAME, guild:ID
    Column("kind", String, primary_key=True),
    Column("amount", Float, nullable=False),
    CheckConstraint("kind IN ('cooldown', 'queued', 'running', 'seconds')", name="kind"),
    CheckConstraint("amount >= 0", name="amount"),
)

vote = Table(
    "vote",
    metadata,
    Column("user_id", ForeignKey("user.id"), primary_key=True),
    Column("job", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("at", Float, nullable=False),
)

preference = Table(
    "preference",
    metadata,
    Column("user_id", ForeignKey("user.id"), primary_key=True),
    Column("options", JSON, nullable=False),  # option to value: what a dream takes where none is given
)

checkpoint = Table(  # of a job that is not over
    "checkpoint",
    metadata,
    Column("job", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("at", Float, nullable=False),
    Column("recipe_digest", String, nullable=False),  # a checkpoint belongs to one recipe
    Column("bank", Whole, nullable=False),  # how many draws of the bank that recipe looks at
    Column("state", LargeBinary, nullable=False),
)

event = Table(
    "event",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("kind", String, nullable=False),
    Column("job", String, index=True),  # no foreign key: a lone engine's event has none, and pruning is by age
    Column("at", Float, nullable=False),
    Column("data", JSON, nullable=False),
    CheckConstraint(_one_of("kind", Kind), name="kind"),
    sqlite_autoincrement=True,  # an id is never used twice, so a cursor stays true after pruning
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("job", ForeignKey("job.id", ondelete="CASCADE"), nullable=False, unique=True),  # one final reply a job
    Column("surface", String, nullable=False),
    Column("reply_to", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("attempts", Whole, nullable=False, server_default="0"),
    Column("message_id", String),
    Column("error", String),
    Column("retry_at", Float),
    Column("sent_at", Float),
    Column("taken_by", String),  # the bot that is sending it
    Column("taken_until", Float),  # by the store's clock; then another may
    Index("ix_outbox_unsent", "surface", "id", **partial("sent_at IS NULL")),
)

cursor = Table(
    "cursor",
    metadata,
    Column("name", String, primary_key=True),
    Column("event", Whole, nullable=False),
)

engine = Table(
    "engine",
    metadata,
    Column("owner", String, primary_key=True),
    Column("pid", Whole, nullable=False),
    Column("host", String, nullable=False),
    Column("boot", String, nullable=False),
    Column("device", String, nullable=False),
    Column("dtype", String, nullable=False),
    Column("packs", JSON, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("beat", Whole, nullable=False, server_default="0"),
    Column("beat_at", Float),
)

pack = Table(
    "pack",
    metadata,
    Column("name", String, primary_key=True),
    Column("digest", String),  # None until an engine has published it
    Column("labels", Whole, nullable=False),
    Column("label_names", JSON, nullable=False),
    Column("methods", JSON, nullable=False),
    Column("resolution", Whole, nullable=False),
    Column("offered", Boolean, nullable=False),
    Column("seconds_per_candidate", Float),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("at", Float, nullable=False),
    Column("surface", String, nullable=False),
    Column("user", String, nullable=False),
    Column("verb", String, nullable=False),
    Column("target", String),
    _json("detail"),
)

flag = Table(
    "flag",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", JSON, nullable=False),
)
