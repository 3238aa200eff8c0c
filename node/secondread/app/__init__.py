"""The composition root: the only place that builds things."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

from secondread.bundles.registry import load_models
from secondread.config.settings import Settings
from secondread.domain.clock import SystemClock
from secondread.domain.states import JOB_ENDS
from secondread.errors import (
    EXIT_OK,
    ConfigurationError,
    LedgerError,
)
from secondread.observe.keys import read_secret, study_key
from secondread.observe.logging import configure
from secondread.store import Ledger, Spool

if TYPE_CHECKING:
    from secondread.pipeline.workplace import Workplace
    from secondread.schedule.timers import Timers

log = structlog.stdlib.get_logger(__name__)

_LOCK_WAIT_S = 30.0
_QUIET_POLL_S = 0.5
_CORRECTIONS_S = 2.0
_TIDY_S = 60.0


def serve(settings: Settings, role: str | None, *, supervised: bool = False) -> int:
    """Run the node, or one role of it, until SIGTERM or SIGINT; returns the exit code."""
    # Whatever is written from here on, by anybody in these processes, is the node's alone.
    os.umask(0o077)
    configure(role or "supervisor", level=settings.log_level, output=settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if supervised:
        threading.Thread(target=_end_with_supervisor, args=(stop,), daemon=True).start()
    if role is None:
        return _supervise(settings, stop)
    spool = Spool(settings.data_dir)
    spool.prepare()
    with _only_one(settings, role, stop) as alone:
        if alone:
            ledger = Ledger.open(settings.data_dir)
            try:
                ROLES[role](settings, ledger, spool, stop)
            finally:
                ledger.close()
    return EXIT_OK


def _supervise(settings: Settings, stop: threading.Event) -> int:
    from secondread.pipeline.supervisor import Supervisor

    if settings.path is None:
        raise ConfigurationError("The node needs a configuration file; see 'secondread config'.")
    log.info("node starts", ae_title=settings.ae_title, data_dir=str(settings.data_dir))
    code = Supervisor(settings.path).run(stop)
    log.info("node stopped", exit_status=code)
    return code


def _end_with_supervisor(stop: threading.Event) -> None:
    """Standard input is a pipe from the supervisor; its end means that the supervisor is gone."""
    # The descriptor, not sys.stdin: its lock would be in the way at the end of the interpreter.
    while os.read(0, 4096):
        continue
    stop.set()


@contextmanager
def _only_one(settings: Settings, role: str, stop: threading.Event) -> Iterator[bool]:
    """Hold the role's lock, which the system gives back even after kill -9.

    Raises:
        LedgerError: another process keeps the role.
    """
    until = time.monotonic() + _LOCK_WAIT_S
    with (settings.data_dir / f"{role}.lock").open("w") as lock:
        while not stop.is_set():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise LedgerError(
                        f"Another node runs the role '{role}' on '{settings.data_dir}'; stop it, "
                        "or give this one a data folder of its own."
                    ) from None
                stop.wait(0.1)
                continue
            yield True
            return
        yield False


def _run_intake(settings: Settings, ledger: Ledger, spool: Spool, stop: threading.Event) -> None:
    from secondread.app.intake import run_intake

    run_intake(settings, ledger, spool, stop)


def _run_pipeline(settings: Settings, ledger: Ledger, spool: Spool, stop: threading.Event) -> None:
    from secondread.app.heap import keep_what_is_loaded
    from secondread.app.live_peers import CHECK_S, LivePeers
    from secondread.assembly.decoding import DecoderPool
    from secondread.inference.engines.local import LocalEngine
    from secondread.pipeline import comparing
    from secondread.pipeline.archives import Archives
    from secondread.pipeline.complete import Complete
    from secondread.pipeline.corrections import Corrections
    from secondread.pipeline.flow import Flow
    from secondread.pipeline.workplace import Workplace
    from secondread.schedule.timers import Timers

    peers = LivePeers(settings)
    decoder = DecoderPool()
    destinations = {destination.name: destination for destination in settings.destinations}
    place = Workplace(
        ledger=ledger,
        spool=spool,
        clock=SystemClock(),
        owner=_owner("pipeline"),
        ae_title=settings.ae_title,
        uid_root=settings.uid_root,
        device_serial=study_key("device", read_secret(settings.data_dir)),
        rules=settings.rules,
        models=MappingProxyType({model.id: model for model in settings.models}),
        manifests=load_models(settings.models, settings.packages),
        peers=peers.by_name,
        decoder=decoder,
        destinations=MappingProxyType(destinations),
    )
    with ledger.begin() as change:
        change.studies.release_claims_of("pipeline:")
        change.jobs.release_claims_of("pipeline:")
    engine = LocalEngine(settings.slots, settings.device, settings.threads_per_slot)
    timers = Timers()
    archives = Archives(ledger, place.clock, destinations)
    complete = Complete(place, archives)
    try:
        for manifest in list(place.manifests.values())[:1]:
            folder = str(manifest.folder)
            engine.warm(manifest.id, folder, manifest.digest, manifest.builds_on)
        archives.start()
        timers.every(_QUIET_POLL_S, "complete studies", complete.step)
        timers.every(CHECK_S, "configuration of peers", peers.check)
        timers.every(_CORRECTIONS_S, "corrections", Corrections(place, stop).step)
        _keep_house(settings, place, timers, stop)
        _watch_models(settings, place, timers)
        timers.every(comparing.LOOK_S, "challengers", comparing.Comparing(place).step)
        short_bytes = max(settings.retention.warn_bytes, settings.minimum_free_bytes)
        timers.every(_TIDY_S, "work folders", lambda: _tidy(place, short_bytes))
        keep_what_is_loaded()
        timers.start()
        Flow(place, engine).run(stop)
    finally:
        timers.stop()
        archives.stop()
        engine.close()
        decoder.close()


def _keep_house(
    settings: Settings, place: Workplace, timers: Timers, stop: threading.Event
) -> None:
    """Have files removed whose time is over, and the disk watched."""
    from secondread.pipeline.caretaker import LOOK_S, ROUND_S, engage

    caretaker = engage(settings, place.ledger, place.spool, place.clock)
    caretaker.begin()
    timers.every(ROUND_S, "retention", lambda: caretaker.work(stop))
    timers.every(LOOK_S, "disk", caretaker.watch.look)


def _watch_models(settings: Settings, place: Workplace, timers: Timers) -> None:
    """Have every model at work looked at, and the numbers written for a monitoring system."""
    from secondread.pipeline.watching import METRICS_S, ModelWatch

    watch = ModelWatch(place, settings.monitoring)
    interval_s = settings.monitoring.look_minutes * 60
    timers.every(interval_s, "models", watch.look, first_s=watch.wait_s())
    timers.every(METRICS_S, "metrics of models", watch.write_metrics)


def _run_deliver(settings: Settings, ledger: Ledger, spool: Spool, stop: threading.Event) -> None:
    from secondread.app.deliver import run_deliver

    run_deliver(settings, ledger, spool, stop, _owner("deliver"))


def _owner(role: str) -> str:
    return f"{role}:{os.getpid()}:{secrets.token_hex(4)}"


def _tidy(place: Workplace, short_bytes: int = 0) -> None:
    """Remove the arrays of jobs that have ended, and with which none is to be compared.

    With less than ``short_bytes`` free no array stays for a comparison: patients come first.
    """
    from secondread.pipeline.comparing import awaited_keys

    folders = {folder.name: folder for folder in place.spool.work.iterdir()}
    # In this order: a job that ends in between is in neither.
    with place.ledger.read() as view:
        ended = view.jobs.keys_in(JOB_ENDS, folders)
    if place.spool.free_bytes() >= short_bytes:
        ended -= awaited_keys(place)
    for key in ended:
        try:
            shutil.rmtree(folders[key])
        except OSError as error:
            # The disk keeps one of them; the others can go all the same.
            log.warning("work folder stays", job=key, reason=error.strerror)


ROLES: Mapping[str, Callable[[Settings, Ledger, Spool, threading.Event], None]] = MappingProxyType(
    {"intake": _run_intake, "pipeline": _run_pipeline, "deliver": _run_deliver}
)
