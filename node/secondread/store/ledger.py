"""The ledger: opening it, migrating it, and transactions on it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from secondread.errors import LedgerError
from secondread.store.archive_counts import ArchiveCounts
from secondread.store.commitments import Commitments
from secondread.store.comparisons import Comparisons
from secondread.store.corrections import Corrections
from secondread.store.crosswalk import Crosswalk
from secondread.store.deliveries import Deliveries
from secondread.store.enquiries import Enquiries
from secondread.store.feedbacks import Feedbacks
from secondread.store.fetches import Fetches
from secondread.store.history import History
from secondread.store.holdings import Holdings
from secondread.store.holds import Holds
from secondread.store.instances import Instances
from secondread.store.jobs import Jobs
from secondread.store.lines import Lines
from secondread.store.looks import Looks
from secondread.store.model_pauses import ModelPauses
from secondread.store.model_work import ModelWork
from secondread.store.monitoring_retention import MonitoringKeeping
from secondread.store.notices import Notices
from secondread.store.observations import Observations
from secondread.store.outbox import Outbox
from secondread.store.pauses import Pauses
from secondread.store.refusals import Refusals
from secondread.store.retention import Keeping
from secondread.store.series import Series
from secondread.store.studies import Studies
from secondread.store.tellings import Tellings
from secondread.store.trail import Trail
from secondread.store.workitems import Workitems

LEDGER_NAME = "ledger.sqlite"
HEAD_REVISION = "0008"
BUSY_TIMEOUT_MS = 30_000


@dataclass(frozen=True, slots=True)
class Transaction:
    """The tables of the ledger, bound to one transaction."""

    instances: Instances
    series: Series
    studies: Studies
    looks: Looks
    pauses: Pauses
    archive_counts: ArchiveCounts
    jobs: Jobs
    outbox: Outbox
    lines: Lines
    deliveries: Deliveries
    enquiries: Enquiries
    tellings: Tellings
    fetches: Fetches
    workitems: Workitems
    refusals: Refusals
    commitments: Commitments
    notices: Notices
    holdings: Holdings
    holds: Holds
    keeping: Keeping
    history: History
    crosswalk: Crosswalk
    observations: Observations
    comparisons: Comparisons
    model_pauses: ModelPauses
    model_work: ModelWork
    monitoring_keeping: MonitoringKeeping
    feedbacks: Feedbacks
    corrections: Corrections
    trail: Trail


class Ledger:
    """What must still happen, in SQL; safe to use from several threads and processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, data_dir: Path, *, synced: bool = True) -> Ledger:
        """Open the ledger of a data folder, creating or migrating it where needed.

        Args:
            data_dir: the node's data folder.
            synced: whether a commit waits for the disk. Whoever can find again what a power cut
                takes need not wait; kill -9 takes nothing in either case.

        Raises:
            LedgerError: the file cannot be opened, or a newer version of the node wrote it.
        """
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = data_dir / LEDGER_NAME
        engine = sa.create_engine(
            f"sqlite:///{path}",
            poolclass=QueuePool,
            connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
        )
        sa.event.listen(engine, "connect", _prepare_sqlite_synced if synced else _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        try:
            _migrate(engine, data_dir)
        except sa.exc.DatabaseError as error:
            engine.dispose()
            raise LedgerError(
                f"The ledger '{path}' cannot be opened: {error.orig}. Check the disk and the "
                "permissions, or restore it from a backup."
            ) from error
        return cls(engine)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """A writing transaction; commits at the end, rolls back on any exception.

        Raises:
            LedgerError: the disk is full or broken, or another writer held the ledger too long.
        """
        try:
            with (
                self._engine.connect().execution_options(
                    secondread_begin="IMMEDIATE"
                ) as connection,
                connection.begin(),
            ):
                yield _bind(connection)
        except (sa.exc.OperationalError, sa.exc.IntegrityError) as error:
            raise LedgerError(f"The ledger could not be written: {error.orig}.") from error

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view for reading; never waits for a writer.

        Raises:
            LedgerError: the disk is broken.
        """
        try:
            with self._engine.connect() as connection:
                yield _bind(connection)
        except sa.exc.OperationalError as error:
            raise LedgerError(f"The ledger could not be read: {error.orig}.") from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _bind(connection: sa.Connection) -> Transaction:
    trail = Trail(connection)
    return Transaction(
        instances=Instances(connection),
        series=Series(connection),
        studies=Studies(connection, trail),
        looks=Looks(connection),
        pauses=Pauses(connection),
        archive_counts=ArchiveCounts(connection),
        jobs=Jobs(connection, trail),
        outbox=Outbox(connection, trail),
        lines=Lines(connection, trail),
        deliveries=Deliveries(connection),
        enquiries=Enquiries(connection),
        tellings=Tellings(connection),
        fetches=Fetches(connection, trail),
        workitems=Workitems(connection, trail),
        refusals=Refusals(connection),
        commitments=Commitments(connection, trail),
        notices=Notices(connection),
        holdings=Holdings(connection),
        holds=Holds(connection, trail),
        keeping=Keeping(connection),
        history=History(connection),
        crosswalk=Crosswalk(connection),
        observations=Observations(connection, trail),
        comparisons=Comparisons(connection),
        model_pauses=ModelPauses(connection, trail),
        model_work=ModelWork(connection),
        monitoring_keeping=MonitoringKeeping(connection),
        feedbacks=Feedbacks(connection, trail),
        corrections=Corrections(connection),
        trail=trail,
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN is switched off: it comes too late for a claim to be exclusive.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _prepare_sqlite_synced(connection: Any, record: Any) -> None:
    _prepare_sqlite(connection, record)
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    mode = connection.get_execution_options().get("secondread_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _migrate(engine: sa.Engine, data_dir: Path) -> None:
    if (found := _revision(engine)) == HEAD_REVISION:
        return
    if found is not None and found > HEAD_REVISION:
        raise LedgerError(
            f"The ledger in '{data_dir}' has version {found}, this node knows {HEAD_REVISION}: a "
            "newer version wrote it. Install that version again."
        )
    # Alembic costs 0.2 s to import and is needed once in a ledger's life.
    from alembic import command
    from alembic.config import Config

    with (data_dir / "migration.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _revision(engine) == HEAD_REVISION:
            return
        configuration = Config()
        folder = Path(__file__).parent / "migrations"
        configuration.set_main_option("script_location", str(folder).replace("%", "%%"))
        with (
            engine.connect().execution_options(secondread_begin="IMMEDIATE") as connection,
            connection.begin(),
        ):
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(
            sa.text("SELECT version_num FROM alembic_version")
        ).scalar()
        return found
