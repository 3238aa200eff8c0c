"""Archives are asked how much they have as they are called for everything else: by TLS, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from secondread.domain.clock import SystemClock
from secondread.domain.destination import CallSecurity, Destination, UserIdentity
from secondread.domain.instance import Instance
from secondread.pipeline.archives import Archives
from secondread.store import Ledger
from secondread.store.archive_counts import ArchiveCount
from tests.certificates import Certificates
from tests.query_peers import wait_for
from tests.web_peers import tls_before


def test_archives_are_asked_over_tls_and_told_who_asks(
    tmp_path: Path, certificates: Certificates
) -> None:
    told: list[tuple[bytes, bytes]] = []

    def learn(event: Any) -> tuple[bool, None]:
        told.append((event.primary_field, event.secondary_field))
        return True, None

    def find(_: Any) -> Iterator[tuple[int, Dataset]]:
        match = Dataset()
        match.NumberOfStudyRelatedInstances = 7
        yield 0xFF00, match

    entity = AE("PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    handlers: Any = [(evt.EVT_C_FIND, find), (evt.EVT_USER_ID, learn)]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    ledger = Ledger.open(tmp_path / "data")
    seen = Instance("2.25.5", "1.1", "2.25.1", "2.25.2", "1.2", "x", 1, "a", "ct", 100.0)
    with ledger.begin() as change:
        change.instances.add([seen])
        change.studies.add_instances([seen], lambda _: 5.0)
        study = change.studies.get(1)

    def answer(name: str) -> ArchiveCount | None:
        with ledger.read() as view:
            found = view.archive_counts.of_study(1)
        return next((one for one in found if one.destination == name), None)

    def has_answered(name: str) -> Callable[[], bool]:
        return lambda: answer(name) is not None

    with tls_before(server.server_address[1], certificates) as port:
        calls = {
            "name": "pacs",
            "ae_title": "PACS",
            "host": "localhost",
            "port": port,
            "calling_ae_title": "SECONDREAD",
            "timeout_s": 5.0,
            "security": CallSecurity(
                certificates.ca.certificate,
                certificates.client.certificate,
                certificates.client.key,
            ),
        }
        known: Any = {
            "pacs": Destination(**calls, identity=UserIdentity("node", secret)),
            "lost": Destination(**calls, identity=UserIdentity("node", tmp_path / "lost")),
        }
        archives = Archives(ledger, SystemClock(), known)
        archives.start()
        try:
            for name in known:
                archives.ask(study, name)
                wait_for(has_answered(name))
        finally:
            archives.stop()
            server.shutdown()
    found, lost = answer("pacs"), answer("lost")
    assert found is not None
    assert (found.objects, found.reason) == (7, "")
    assert told == [(b"node", b"sesame")]
    assert lost is not None
    assert "cannot be read" in lost.reason
    ledger.close()
