"""Plans and their steps. What is to be done and what came out is sealed under the key of who asked."""

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Uuid

from aliquot.chat.tables import conversation
from aliquot.platform.db import id_column, metadata, time_column

plan = Table(
    "plan",
    metadata,
    id_column(),
    Column("version", Integer, nullable=False),
    Column("conversation_id", Uuid, ForeignKey(conversation.c.id), nullable=False),
    Column("person_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False, comment="the run that made it"),
    Column("run_step", Integer, nullable=False, comment="the step of that run"),
    Column("current_run_id", Uuid, nullable=False, comment="the run that drives it, or waits for it; no other may"),
    Column("state", String(16), nullable=False),
    Column("mode", String(8), nullable=False),
    Column("reason", String(40)),
    Column("whole_id", Uuid, comment="the approval of the whole"),
    Column("approval_id", Uuid, comment="the approval it waits for"),
    Column("tainted", Boolean, nullable=False),
    Column("stop_by", Uuid, comment="who stopped it"),
    time_column("created_at"),
    time_column("ended_at", nullable=True),
    CheckConstraint("state IN ('waiting', 'running', 'paused', 'failed', 'stopped', 'done')", name="state"),
    CheckConstraint("mode IN ('whole', 'steps')", name="mode"),
    Index("uq_plan_run_id", "run_id", "run_step", unique=True),
    Index("ix_plan_person_id", "person_id", "id"),
    Index("ix_plan_conversation_id", "conversation_id"),
    Index("ix_plan_current_run_id", "current_run_id"),
    Index("uq_plan_approval_id", "approval_id", unique=True, postgresql_where="approval_id IS NOT NULL"),
)

plan_step = Table(
    "plan_step",
    metadata,
    Column("plan_id", Uuid, ForeignKey("plan.id"), primary_key=True),
    Column("n", Integer, primary_key=True, comment="from 0"),
    Column("tool", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, comment="from 1; another one is another call"),
    Column("approval_id", Uuid),
    Column("run_id", Uuid, comment="the run that began it"),
    Column("body", LargeBinary, nullable=False, comment="sealed JSON: arguments, preview, decision"),
    Column("outcome", LargeBinary, comment="sealed: how it ended"),
    CheckConstraint("state IN ('waiting', 'current', 'ok', 'failed', 'denied', 'unknown', 'skipped')", name="state"),
)
