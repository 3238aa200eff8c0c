"""The ledger's tables about models that are watched.

Times are seconds since the epoch, UTC. No column of ``observation`` and ``model_drift`` holds a
UID or free text of a study.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from secondread.store.tables import metadata

_UID = String(64)
_ID = BigInteger().with_variant(Integer, "sqlite")

observation = Table(
    "observation",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("job_id", ForeignKey("job.id"), nullable=False, unique=True),
    Column("at", Float, nullable=False),
    Column("model_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("scanner", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("measures", JSON, nullable=False),
    Index("ix_observation_of", "model_id", "model_version", "scanner", "protocol", "at"),
)

comparison = Table(
    "comparison",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("champion_job_id", ForeignKey("job.id"), nullable=False),
    Column("challenger_job_id", ForeignKey("job.id"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("measures", JSON, nullable=False),
    UniqueConstraint("champion_job_id", "challenger_job_id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("job_id", ForeignKey("job.id"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("given_by", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("sop_instance_uid", _UID),
    Column("remark", Text, nullable=False, default=""),
    Column("measures", JSON, nullable=False),
    UniqueConstraint("job_id", "sop_instance_uid"),
)

correction = Table(
    "correction",
    metadata,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("study_instance_uid", _UID, nullable=False, index=True),
    Column("peer", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Float, nullable=False, default=0.0),
    Column("reason", Text, nullable=False, default=""),
)

model_pause = Table(
    "model_pause",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("model_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    UniqueConstraint("model_id", "model_version"),
)

model_baseline = Table(
    "model_baseline",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("model_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", Float, nullable=False),
    UniqueConstraint("model_id", "model_version"),
)

model_drift = Table(
    "model_drift",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("model_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("scanner", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", Float, nullable=False),
    Column("looked_at", Float, nullable=False),
    Column("text", Text, nullable=False),
    Column("psi_max", Float, nullable=False),
    UniqueConstraint("model_id", "model_version", "scanner", "protocol"),
)
