"""The ledger's tables.

Times are seconds since the epoch, UTC. ``claimed_by`` and ``claimed_until`` are a lease: who is
working on the row, and until when nobody else may.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

_UID = String(64)
_ID = BigInteger().with_variant(Integer, "sqlite")

instance = Table(
    "instance",
    metadata,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("sop_class_uid", _UID, nullable=False),
    Column("study_instance_uid", _UID, nullable=False, index=True),
    Column("series_instance_uid", _UID, nullable=False),
    Column("transfer_syntax_uid", _UID, nullable=False),
    Column("path", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("peer", Text, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("urgency", Integer, nullable=False, default=0),
    Column("data_offset", Integer, nullable=False, default=0),
    Column("pixel_offset", BigInteger, nullable=False, default=-1),
    Column("pixel_length", BigInteger, nullable=False, default=-1),
    Column("facts", JSON, nullable=False, default=dict),
    Column("purged_at", Float),
)

study = Table(
    "study",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study_instance_uid", _UID, nullable=False, unique=True),
    Column("state", String(16), nullable=False, index=True),
    Column("peer", Text, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("quiet_s", Float, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("urgency", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("reason", Text, nullable=False, default=""),
    Column("released_at", Float),
    Column("ready", JSON(none_as_null=True)),
    Column("next_look_at", Float),
    Column("quiet_from", Float),
    Column("rounds", JSON, nullable=False, default=dict),
    Column("answers", JSON, nullable=False, default=list),
    Column("claimed_by", Text),
    Column("claimed_until", Float),
)

job = Table(
    "job",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("key", String(32), nullable=False, unique=True),
    Column("study_id", ForeignKey("study.id"), nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("rule", Text, nullable=False),
    Column("model_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("series_instance_uid", _UID, nullable=False),
    Column("input_digest", String(64), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("losses", Integer, nullable=False, default=0),
    Column("created_at", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("outcome", String(32), nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("candidates", JSON, nullable=False),
    Column("checks", JSON, nullable=False),
    Column("part", Text, nullable=False, default=""),
    Column("sources", JSON, nullable=False, default=list),
    Column("version", Integer, nullable=False, default=1),
    Column("predecessor_id", _ID),
    Column("urgency", Integer, nullable=False, default=0),
    Column("shadow", Boolean, nullable=False, default=False),
    Column("patient_mark", String(64), nullable=False, default=""),
    Column("claimed_by", Text),
    Column("claimed_until", Float),
    UniqueConstraint("study_id", "rule", "model_id", "model_version", "input_digest"),
    Index("ix_job_of_patient", "patient_mark", "model_id"),
    Index("ix_job_of_rule", "rule", "created_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("job_id", ForeignKey("job.id"), nullable=False, index=True),
    Column("destination", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("urgency", Integer, nullable=False, default=0),
    Column("level", Integer, nullable=False, default=0),
    Column("kind", String(16), nullable=False, default=""),
    Column("sop_instance_uid", _UID, nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("path", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Float, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("status", Integer),
    Column("remark", Text, nullable=False, default=""),
    Column("proof", String(16), nullable=False, default=""),
    Column("prove_at", Float),
    Column("proof_tries", Integer, nullable=False, default=0),
    Column("sendings", Integer, nullable=False, default=0),
    Column("sent_at", Float),
    Column("safe_at", Float),
    Column("purged_at", Float),
    Column("claimed_by", Text),
    Column("claimed_until", Float),
    UniqueConstraint("destination", "sop_instance_uid"),
    Index("ix_outbox_due", "destination", "state", "next_at"),
    Index("ix_outbox_turn", "destination", "state", "urgency", "job_id", "sequence"),
    Index("ix_outbox_proof", "destination", "state", "prove_at"),
)

line = Table(
    "line",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("paused", Boolean, nullable=False, default=False),
    Column("failures", Integer, nullable=False, default=0),
    Column("since", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("reason", Text, nullable=False, default=""),
)

enquiry = Table(
    "enquiry",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("transaction_uid", _UID, nullable=False, unique=True),
    Column("destination", Text, nullable=False),
    Column("ae_title", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("objects", JSON, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("reports", JSON, nullable=False, default=list),
    Index("ix_enquiry_due", "state", "due_at"),
)

telling = Table(
    "telling",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("target", Text, nullable=False),
    Column("event", String(32), nullable=False),
    Column("key", String(64), nullable=False),
    Column("study_id", ForeignKey("study.id")),
    Column("job_id", ForeignKey("job.id")),
    Column("content", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created_at", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("claimed_by", Text),
    Column("claimed_until", Float),
    UniqueConstraint("target", "key"),
    Index("ix_telling_due", "state", "next_at"),
)

telling_mark = Table(
    "telling_mark",
    metadata,
    Column("target", Text, primary_key=True),
    Column("trail_id", _ID, nullable=False),
)

fetch = Table(
    "fetch",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study_id", ForeignKey("study.id"), index=True),
    Column("source", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("study_instance_uid", _UID, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("objects", Integer),
    Column("created_at", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("claimed_by", Text),
    Column("claimed_until", Float),
    UniqueConstraint("study_id", "source", "kind", "study_instance_uid"),
    Index("ix_fetch_due", "state", "next_at"),
)

workitem = Table(
    "workitem",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("worklist", Text, nullable=False),
    Column("workitem_uid", _UID, nullable=False),
    Column("transaction_uid", _UID, nullable=False),
    Column("study_instance_uid", _UID, nullable=False, index=True),
    Column("rule", Text, nullable=False, default=""),
    Column("content", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created_at", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("claimed_by", Text),
    Column("claimed_until", Float),
    UniqueConstraint("worklist", "workitem_uid"),
    Index("ix_workitem_due", "state", "next_at"),
)

hold = Table(
    "hold",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study_id", ForeignKey("study.id"), nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("placed_by", Text, nullable=False),
    Column("at", Float, nullable=False),
)

trail = Table(
    "trail",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("event", String(32), nullable=False, index=True),
    Column("study_id", _ID, index=True),
    Column("job_id", _ID),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("hash", String(64), nullable=False),
)

refusal = Table(
    "refusal",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("code", String(32), nullable=False),
    Column("calling", String(64), nullable=False),
    Column("called", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("certificate_sha256", String(64), nullable=False),
    Column("peer", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False, index=True),
    Column("times", Integer, nullable=False),
    UniqueConstraint("code", "calling", "called", "address", "certificate_sha256"),
)

commitment = Table(
    "commitment",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("transaction_uid", _UID, nullable=False),
    Column("peer", Text, nullable=False),
    Column("called_ae_title", String(16), nullable=False),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("committed", JSON, nullable=False),
    Column("failed", JSON, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    UniqueConstraint("transaction_uid", "peer"),
    Index("ix_commitment_due", "state", "next_at"),
)

notice = Table(
    "notice",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("sop_instance_uid", _UID, nullable=False),
    Column("study_instance_uid", _UID, nullable=False, index=True),
    Column("peer", Text, nullable=False),
    Column("status", String(32), nullable=False),
    Column("at", Float, nullable=False),
    Column("objects", JSON, nullable=False),
    UniqueConstraint("kind", "sop_instance_uid", "study_instance_uid"),
)

series = Table(
    "series",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("series_instance_uid", _UID, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("summary", JSON, nullable=False),
    UniqueConstraint("study_id", "series_instance_uid"),
)

pause = Table(
    "pause",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study_id", ForeignKey("study.id"), nullable=False, unique=True),
    Column("peer", Text, nullable=False),
    Column("protocol", String(64), nullable=False),
    Column("longest_s", Float, nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_pause_of", "peer", "protocol", "at"),
)

archive_count = Table(
    "archive_count",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("destination", Text, nullable=False),
    Column("objects", Integer),
    Column("at", Float, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    UniqueConstraint("study_id", "destination"),
)

crosswalk_key = Table(
    "crosswalk_key",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("since", Float, nullable=False),
    Column("retired_at", Float),
)

export_project = Table(
    "export_project",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("key_id", String(16), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("since", Float, nullable=False),
)

crosswalk = Table(
    "crosswalk",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("project_id", ForeignKey("export_project.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("original_mark", LargeBinary(16), nullable=False, unique=True),
    Column("pseudonym_mark", LargeBinary(16), nullable=False, index=True),
    Column("key_id", String(16), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
)
