"""Building the intake role: the acceptor and all that stands around it."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from secondread.access.certificates import days_left, expiring
from secondread.access.peers import AccessList
from secondread.access.quotas import QuotaBook
from secondread.access.refusals import RefusalBook
from secondread.access.tls import ServerCertificates, client_context
from secondread.app.heap import keep_what_is_loaded
from secondread.assembly.completeness import first_look_s, policy, shortest_limit_s
from secondread.config.reload import Watch
from secondread.config.settings import Settings
from secondread.dicom.contexts import FEEDBACK_SOP_CLASS_UIDS
from secondread.domain.clock import SystemClock
from secondread.domain.completeness import Completeness
from secondread.domain.instance import Instance
from secondread.domain.network import Service
from secondread.errors import (
    EXIT_UNAVAILABLE,
    ConfigurationError,
    LedgerError,
    SecondReadError,
)
from secondread.intake import commitment, commitment_reports, notices, status
from secondread.intake.association import Timeouts
from secondread.intake.commit import Committer
from secondread.intake.conversation import Desk
from secondread.intake.dimse import Caller, Handler, Reply, Request, ServiceTable
from secondread.intake.handed import HandedObjects, Means
from secondread.intake.journal import Journal
from secondread.intake.offers import make_offers, storage_classes
from secondread.intake.reactor import Reactor
from secondread.intake.reception import Limits, Sender
from secondread.intake.registrar import Registrar
from secondread.intake.releases import Releases
from secondread.intake.reporter import CommitmentReporter
from secondread.intake.server import Caps, Listening, StorageServer
from secondread.intake.space import Space
from secondread.intake.storing import ObjectStore
from secondread.observe.keys import read_secret
from secondread.observe.metrics import Metrics
from secondread.schedule.timers import Timers
from secondread.store import Ledger, Spool
from secondread.store.door import held_open
from secondread.store.durability import Durability
from secondread.store.handed import Handed
from secondread.store.studies import Waits

log = structlog.stdlib.get_logger(__name__)

_SWITCH_S = 0.0001
_GARBAGE = 20_000
_FLUSH_S = 1.0
_METRICS_S = 15.0
_CERTIFICATES_S = 24 * 3600.0
_REPORT_IDLE_S = 1.0
_SETTLE_S = 20.0


class PortTakenError(SecondReadError):
    """The node cannot listen where it is told to."""

    exit_code = EXIT_UNAVAILABLE
    audit_code = "port-taken"


def run_intake(
    settings: Settings,
    ledger: Ledger,
    spool: Spool,
    stop: threading.Event,
    *,
    synced: bool = True,
) -> None:
    """Receive objects until ``stop``.

    ``synced`` False leaves out every fsync of objects: for benchmarks only.

    Raises:
        PortTakenError: a port is taken.
        ConfigurationError: the TLS files do not work.
    """
    # Rows of objects can be found again in the spool; what services promise cannot.
    rows = Ledger.open(settings.data_dir, synced=False)
    durability = Durability(spool.root, enabled=synced)
    try:
        _Intake(settings, ledger, rows, spool, durability).run(stop)
    finally:
        durability.close()
        rows.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What has to be started and stopped, in this order and in the opposite one."""

    registrar: Registrar
    committer: Committer
    server: StorageServer
    handed: HandedObjects


class _Intake:
    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        rows: Ledger,
        spool: Spool,
        durability: Durability,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._rows = rows
        self._spool = spool
        self._durability = durability
        self._clock = SystemClock()
        self._metrics = Metrics()
        self._access = AccessList(settings.peers, settings.ae_title)
        self._space = Space(spool.free_bytes, settings.minimum_free_bytes)
        self._journal = Journal(
            rows,
            RefusalBook(rows, self._clock),
            self._metrics,
            self._clock,
            read_secret(settings.data_dir),
        )
        self._registrar = Registrar(
            rows,
            Waits(self._quiet_s, self._look_s, self._limit_s, self._is_feedback),
            self._tell_ledger,
        )
        self._limits = Limits(
            settings.max_object_bytes, settings.max_inflated_bytes, settings.minimum_free_bytes
        )
        self._objects = ObjectStore(
            spool, durability, self._limits, self._clock, self._registrar.enter
        )
        self._watch = Watch(settings.path, settings) if settings.path is not None else None
        self._disk_was_low = False

    def run(self, stop: threading.Event) -> None:
        """Read the spool again, open the doors, and serve."""
        # A thread that computes must not keep those waiting that answer senders.
        sys.setswitchinterval(_SWITCH_S)
        keep_what_is_loaded()
        gc.set_threshold(_GARBAGE)
        self._registrar.start()
        self._adopt_orphans()
        parts = self._build(stop)
        try:
            parts.server.start()
        except OSError as error:
            raise PortTakenError(
                f"Cannot listen on {self._settings.host}: {error.strerror}. Stop what is on port "
                f"{self._settings.port or self._settings.tls.port}, or change 'port' in [dicom] or "
                "[tls]."
            ) from None
        parts.committer.start()
        with self._rows.begin() as change:
            look_s = min((self._look_s(peer.name) for peer in self._settings.peers), default=0.0)
            change.studies.restart_quiet_time(self._clock.now(), look_s)
        fetched = threading.Thread(
            target=parts.handed.run, args=(stop,), name="fetched", daemon=True
        )
        with held_open(self._settings.data_dir), self._timers(parts.server), self._reports(stop):
            fetched.start()
            stop.wait()
            fetched.join(_SETTLE_S)
        parts.server.stop()
        parts.registrar.stop()
        self._journal.flush()

    def _build(self, stop: threading.Event) -> _Parts:
        settings = self._settings
        reactor = Reactor()
        committer = Committer(self._objects, reactor.post, self._metrics.commit_group)
        storage = storage_classes(settings.sop_classes, settings.extra_sop_classes)
        quotas = QuotaBook()
        desk = Desk(
            journal=self._journal,
            committer=committer,
            quotas=quotas,
            space=self._space,
            limits=self._limits,
            storage=storage,
            services=self._services(storage),
            new_incoming=self._spool.new_incoming,
            overloaded=lambda: self._registrar.overloaded,
            begin=self._durability.begin,
            releases=Releases(lambda uids: self._registrar.release(uids, self._clock.now())),
        )
        offers = make_offers(
            storage,
            {
                Service.COMMITMENT: commitment.CONTEXTS,
                Service.NOTICES: notices.CONTEXTS,
                Service.STATUS: status.CONTEXTS,
            },
            reports=commitment_reports.CONTEXTS,
        )
        server = StorageServer(
            self._listening(),
            Caps(settings.max_associations, settings.max_waiting),
            Timeouts(
                settings.request_timeout_s, settings.pdu_timeout_s, settings.association_timeout_s
            ),
            self._access,
            quotas,
            desk,
            offers,
            reactor,
        )
        return _Parts(self._registrar, committer, server, self._fetched(committer, storage, stop))

    def _fetched(
        self, committer: Committer, storage: frozenset[str], stop: threading.Event
    ) -> HandedObjects:
        """Takes what was fetched, as long as there is room."""
        means = Means(
            self._spool,
            self._limits,
            self._durability.begin,
            storage,
            self._quiet_s,
            may_take=lambda: not (self._space.low or self._registrar.overloaded),
            store=lambda arrivals: committer.store_all(arrivals, lambda: not stop.is_set()),
        )
        return HandedObjects(Handed(self._spool.root), means, self._journal)

    def _listening(self) -> Listening:
        settings = self._settings
        port = settings.port or None
        if not settings.tls.port:
            return Listening(settings.host, port)
        certificates = ServerCertificates(
            settings.tls,
            on_trouble=lambda sentence: self._journal.alert("tls-files", sentence),
            on_renewal=lambda sentence: self._note("tls-files", sentence),
        )
        return Listening(settings.host, port, settings.tls.port, certificates.current)

    def _services(self, storage: frozenset[str]) -> ServiceTable:
        peer_of = self._access.peer
        commitments = commitment.CommitmentProvider(
            self._ledger, self._spool, peer_of, self._clock, storage
        )
        handlers = {
            **commitment.handlers(commitments),
            **commitment_reports.handlers(self._report_taker()),
            **notices.handlers(notices.NoticeProvider(self._ledger, peer_of, self._clock)),
            **status.handlers(status.StatusProvider(self._ledger, peer_of)),
        }
        return ServiceTable({key: self._settled(handler) for key, handler in handlers.items()})

    def _report_taker(self) -> commitment_reports.ReportTaker:
        def refuse(sentence: str, caller: Caller) -> None:
            log.warning("commitment report refused", peer=caller.peer, address=caller.address)
            self._journal.audit(
                "commitment-report-refused",
                sentence,
                {"peer": caller.peer, "address": caller.address},
            )

        return commitment_reports.ReportTaker(
            self._access.peer, commitment_reports.recorder(self._ledger), refuse
        )

    def _settled(self, handler: Handler) -> Handler:
        """Ask the ledger only when it knows all that got Success so far."""

        def handle(caller: Caller, request: Request) -> Reply:
            if not self._registrar.settle(_SETTLE_S):
                raise LedgerError("The ledger cannot be written at the moment; ask again later.")
            return handler(caller, request)

        return handle

    def _adopt_orphans(self) -> None:
        self._spool.sync_folders()
        discarded = self._spool.discard_incoming()
        with self._rows.read() as view:
            known = view.instances.paths()
        titles = {peer.ae_title: peer for peer in self._settings.peers}

        def sender_of(ae_title: str) -> Sender:
            peer = titles.get(ae_title)
            name = "" if peer is None else peer.name
            return Sender(name, ae_title, self._quiet_s(name))

        for name, error in self._objects.adopt_orphans(known, sender_of):
            if error is None:
                log.warning("orphan adopted", file=name)
                continue
            log.error("orphan set aside", file=name, reason=str(error))
            self._journal.audit(
                "object-refused",
                f"Found in the spool: {error}",
                {"code": error.audit_code, "file": name},
            )
        self._registrar.settle(_SETTLE_S)
        log.info("spool read", discarded=discarded)

    def _quiet_s(self, peer_name: str) -> float:
        peer = self._access.peer(peer_name)
        if peer is not None:
            return peer.quiet_s
        return max((peer.quiet_s for peer in self._settings.peers), default=60.0)

    def _look_s(self, peer_name: str) -> float:
        """After how much silence a peer's study might be complete for any rule."""
        return first_look_s(self._terms(peer_name))

    def _limit_s(self, peer_name: str) -> float:
        """The shortest of the longest waits for a peer's study."""
        return shortest_limit_s(self._terms(peer_name))

    def _is_feedback(self, instance: Instance) -> bool:
        """Whether an object may say what a result was worth, and its peer may."""
        peer = self._access.peer(instance.peer)
        may = peer is not None and Service.FEEDBACK in peer.may
        return may and instance.sop_class_uid in FEEDBACK_SOP_CLASS_UIDS

    def _terms(self, peer_name: str) -> Iterator[Completeness]:
        peer, quiet_s = self._access.peer(peer_name), self._quiet_s(peer_name)
        for rule in (None, *self._settings.rules):
            yield policy(peer, rule, quiet_s)

    @contextmanager
    def _timers(self, server: StorageServer) -> Iterator[None]:
        timers = Timers()
        timers.every(_FLUSH_S, "journal", self._journal.flush)
        timers.every(_FLUSH_S, "disk", self._watch_disk)
        timers.every(_FLUSH_S, "configuration", self._reload)
        timers.every(_METRICS_S, "metrics", lambda: self._write_metrics(server))
        timers.every(_CERTIFICATES_S, "certificates", self._watch_certificates)
        self._watch_certificates()
        timers.start()
        try:
            yield
        finally:
            timers.stop()

    @contextmanager
    def _reports(self, stop: threading.Event) -> Iterator[None]:
        """Tell peers what was committed, in a thread of its own: a peer may be slow to answer."""
        tls = self._settings.tls
        reporter = CommitmentReporter(
            self._ledger,
            self._access.peer,
            self._clock,
            lambda: client_context(tls) if tls.port else None,
        )

        def run() -> None:
            while not stop.is_set():
                try:
                    busy = reporter.step()
                except SecondReadError as error:
                    log.error("a commitment report failed", reason=str(error))
                    busy = False
                if not busy:
                    stop.wait(_REPORT_IDLE_S)

        thread = threading.Thread(target=run, name="reporter", daemon=True)
        thread.start()
        yield

    def _reload(self) -> None:
        change = self._watch.check() if self._watch is not None else None
        if change is None:
            return
        if change.fault:
            self._journal.alert("configuration", change.sentence)
            return
        if "peers" in change.live:
            self._access.replace(change.settings.peers)
        self._note("configuration", change.sentence)

    def _watch_disk(self) -> None:
        low = self._space.low
        if low == self._disk_was_low:
            return
        self._disk_was_low = low
        if low:
            self._journal.alert(
                "disk-low",
                "Too little disk space is left: objects and associations are refused until there "
                "is more. Make room, or lower minimum_free_gib in [node].",
            )
        else:
            self._note("disk-low", "There is room again; objects are taken.")

    def _tell_ledger(self, sentence: str) -> None:
        if sentence:
            log.error("ledger", reason=sentence)
        else:
            self._note("ledger", "The ledger can be written again.")

    def _watch_certificates(self) -> None:
        try:
            troubles = expiring(self._settings, self._clock.now(), self._settings.tls.warn_days)
        except ConfigurationError as error:
            troubles = [str(error)]
        for sentence in troubles:
            self._journal.alert("certificate-expiry", sentence)

    def _write_metrics(self, server: StorageServer) -> None:
        associations, waiting = server.counts()
        self._metrics.connections(waiting, associations)
        self._metrics.disk_free(self._spool.free_bytes())
        self._metrics.certificates(days_left(self._settings, self._clock.now()))
        try:
            self._metrics.write(self._settings.data_dir / "metrics" / "intake.prom")
        except OSError as error:
            log.warning("metrics could not be written", reason=error.strerror)

    def _note(self, event: str, sentence: str) -> None:
        log.info(event, reason=sentence)
        self._journal.audit(event, sentence, {})
