"""A destination that refuses segmentations gets what it takes, and everybody is told."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt

from secondread.cli.story import read_story, tell
from secondread.delivery.address import Address
from secondread.delivery.courier import Courier
from secondread.delivery.statuses import is_refusal_of_kind
from secondread.delivery.store_scu import echo, send_one
from secondread.domain.destination import Destination, Way
from secondread.domain.form import Compression, Form, SegmentationKind
from secondread.domain.states import JobState, StudyState
from secondread.errors import KindRefusedError, PeerRefusedError, PeerUnreachableError
from secondread.pipeline.retry import retry_study
from secondread.pipeline.write import Write
from tests.house import House, StillClock

BINARY = "1.2.840.10008.5.1.4.1.1.66.4"
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"
VERIFICATION = "1.2.840.10008.1.1"
LOCAL = "127.0.0.1"
# A PACS of the kind that knows reports and has never heard of segmentations.
PROFILE = f"""\
[[TransferSyntaxes]]
[Uncompressed]
TransferSyntax1 = LittleEndianExplicit
TransferSyntax2 = LittleEndianImplicit

[[PresentationContexts]]
[Reports]
PresentationContext1 = {VERIFICATION}\\Uncompressed
PresentationContext2 = {REPORT}\\Uncompressed

[[Profiles]]
[NoSegmentations]
PresentationContexts = Reports
"""


@contextmanager
def storescp(program: str, folder: Path, port: int) -> Iterator[Path]:
    """DCMTK's storescp with a profile that takes reports alone; where it keeps what it gets."""
    folder.mkdir()
    profile = folder.with_suffix(".cfg")
    profile.write_text(PROFILE)
    command = [program, "-xf", str(profile), "NoSegmentations", "-od", str(folder), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while not echo(Address(LOCAL, port, "PACS", "SECONDREAD", 5.0)).ok:
            assert time.monotonic() < until
        yield folder
    finally:
        server.terminate()
        server.wait(timeout=20)


class Pacs:
    """A storage SCP that answers segmentations with a status, and keeps the rest."""

    def __init__(self, status: int, *, classes: tuple[str, ...] = (BINARY, REPORT)) -> None:
        self.status = status
        self.asked: list[str] = []
        entity = AE("PACS")
        for uid in (*classes, VERIFICATION):
            entity.add_supported_context(uid)
        self.server: Any = entity.start_server(
            (LOCAL, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.port: int = self.server.server_address[1]

    def _store(self, event: Any) -> int:
        self.asked.append(str(event.request.AffectedSOPClassUID))
        return self.status if self.asked[-1] == BINARY else 0x0000

    def __enter__(self) -> Pacs:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()


@pytest.fixture
def house(tmp_path: Path, head_series: Callable[..., Any]) -> House:
    """A house with one study that has been analysed."""
    house = House(tmp_path / "data", StillClock())
    house.receive(head_series("axial").paths)
    house.assemble()
    house.analyse()
    return house


def deliver(house: House, port: int, form: Form | None = None, called: str = "PACS") -> Courier:
    """Write the results for a PACS at this port; who will bring them there."""
    place = Destination(
        name="pacs",
        ae_title=called,
        host=LOCAL,
        port=port,
        calling_ae_title="SECONDREAD",
        timeout_s=10.0,
        attempts_max=3,
        form=form or Form(),
    )
    house.place = replace(house.place, destinations={"pacs": place})
    assert Write(house.place).step()
    ledger, spool = house.place.ledger, house.place.spool
    return Courier(ledger, spool, lambda: {"pacs": place}, house.clock, "deliver:test")


def work_off(courier: Courier) -> None:
    while courier.step("pacs"):
        pass
    courier.close()


def states(house: House) -> list[tuple[int, str, str]]:
    with house.place.ledger.read() as view:
        return [(row.level, row.kind, row.state.value) for row in view.outbox.of_job(1)]


def story(house: House) -> list[str]:
    """What ``secondread study show`` tells."""
    with house.place.ledger.read() as view:
        return list(tell(read_story(view, view.studies.get(1), "key"), house.clock.time))


def test_dcmtk_that_takes_no_segmentations_gets_the_report_alone(
    house: House,
    dcmtk: Callable[[str], str],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    port = free_port()
    with storescp(dcmtk("storescp"), tmp_path / "pacs", port) as folder:
        work_off(deliver(house, port))
        received = [dcmread(path) for path in folder.iterdir()]
    assert states(house) == [
        (0, "seg", "replaced"),
        (0, "sr", "replaced"),
        (1, "sr", "sent"),
    ]
    assert (house.job.state, house.study.state) == (JobState.DELIVERED, StudyState.DONE)
    (report,) = received
    assert report.SOPClassUID == REPORT
    # It names no segmentation that is not there.
    named = {str(e.value) for e in report.iterall() if e.keyword == "ReferencedSOPClassUID"}
    assert BINARY not in named
    told = "\n".join(story(house))
    assert "'pacs' refused the segmentation; the report alone went instead." in told
    assert "does not take this SOP class in this transfer syntax" in told
    assert "What is in reserve goes instead." in told


def test_orthanc_gets_what_it_is_sent_first(house: House, orthanc: Callable[..., Any]) -> None:
    pacs = orthanc(("SECONDREAD",))
    work_off(deliver(house, pacs.port, called=pacs.ae_title))
    assert states(house) == [(0, "seg", "sent"), (0, "sr", "sent"), (1, "sr", "reserved")]
    assert house.job.state is JobState.DELIVERED
    assert {one.modality for one in pacs.held()} == {"SEG", "SR"}


def test_orthanc_gets_a_compressed_label_map(house: House, orthanc: Callable[..., Any]) -> None:
    pacs = orthanc(("SECONDREAD",))
    form = Form(
        segmentation=SegmentationKind.LABELMAP,
        fallback=(SegmentationKind.BINARY,),
        compression=Compression.JPEG_LS,
    )
    work_off(deliver(house, pacs.port, form, called=pacs.ae_title))
    assert states(house) == [
        (0, "seg", "sent"),
        (0, "sr", "sent"),
        *[(level, kind, "reserved") for level in (1, 2) for kind in ("seg", "sr")],
    ]
    assert house.job.state is JobState.DELIVERED


@pytest.mark.parametrize("status", [0x0122, 0xA900, 0xA9FF, 0xC000, 0xCFFF])
def test_answer_that_speaks_of_the_kind_lets_the_next_form_go(house: House, status: int) -> None:
    with Pacs(status) as pacs:
        work_off(deliver(house, pacs.port))
    assert pacs.asked == [BINARY, REPORT]
    assert states(house)[2] == (1, "sr", "sent")
    assert house.job.state is JobState.DELIVERED


@pytest.mark.parametrize("status", [0xA700, 0x0110, 0x0213])
def test_trouble_that_passes_is_waited_for(house: House, status: int) -> None:
    with Pacs(status) as pacs:
        courier = deliver(house, pacs.port)
        work_off(courier)
        assert states(house) == [(0, "seg", "ready"), (0, "sr", "ready"), (1, "sr", "reserved")]
        pacs.status = 0x0000
        house.clock.time += 1000
        work_off(courier)
    assert states(house) == [(0, "seg", "sent"), (0, "sr", "sent"), (1, "sr", "reserved")]


@pytest.mark.parametrize("status", [0x0124, 0x0117])
def test_refusal_that_says_nothing_of_the_kind_is_a_dead_letter(house: House, status: int) -> None:
    with Pacs(status) as pacs:
        work_off(deliver(house, pacs.port))
    assert states(house) == [(0, "seg", "dead"), (0, "sr", "sent"), (1, "sr", "reserved")]
    assert house.job.state is JobState.FAILED


def test_without_a_fallback_a_person_has_to_look_and_may_retry(house: House) -> None:
    with Pacs(0x0122) as pacs:
        courier = deliver(house, pacs.port, Form(fallback=()))
        work_off(courier)
        assert states(house) == [(0, "seg", "dead"), (0, "sr", "sent")]
        assert house.study.state is StudyState.HELD
        pacs.status = 0x0000
        with house.place.ledger.begin() as change:
            retry_study(change, change.studies.get(1), house.clock.time)
        work_off(courier)
    assert states(house) == [(0, "seg", "sent"), (0, "sr", "sent")]


def test_report_that_is_refused_has_no_other_form(house: House) -> None:
    with Pacs(0x0000, classes=(BINARY,)) as pacs:
        work_off(deliver(house, pacs.port))
    assert states(house) == [(0, "seg", "sent"), (0, "sr", "dead"), (1, "sr", "reserved")]
    assert house.job.state is JobState.FAILED


def test_courier_that_dies_while_it_falls_back_does_it_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    with Pacs(0x0122) as pacs:
        courier = deliver(house, pacs.port)
        with monkeypatch.context() as dying:

            def die(*_: object, **__: object) -> None:
                raise Killed

            # In the middle of the transaction: some rows have been moved, others not.
            dying.setattr("secondread.store.trail.Trail.append_all", die)
            with pytest.raises(Killed):
                courier.step("pacs")
        assert states(house) == [(0, "seg", "ready"), (0, "sr", "ready"), (1, "sr", "reserved")]
        with house.place.ledger.begin() as change:
            change.outbox.release_claims_of("deliver:")
        work_off(courier)
    assert states(house) == [(0, "seg", "replaced"), (0, "sr", "replaced"), (1, "sr", "sent")]


def test_encoding_that_is_refused_goes_uncompressed(house: House) -> None:
    form = Form(compression=Compression.DEFLATED)
    with Pacs(0x0000) as pacs:
        work_off(deliver(house, pacs.port, form))
    assert pacs.asked == [BINARY, REPORT]
    assert states(house) == [
        (0, "seg", "replaced"),
        (0, "sr", "replaced"),
        (1, "seg", "sent"),
        (1, "sr", "sent"),
        (2, "sr", "reserved"),
    ]
    assert any("the same in another encoding or kind went instead" in line for line in story(house))


def test_who_wants_no_segmentation_is_never_offered_one(house: House) -> None:
    with Pacs(0x0122) as pacs:
        work_off(deliver(house, pacs.port, Form(segmentation=SegmentationKind.NONE, fallback=())))
    assert pacs.asked == [REPORT]
    assert states(house) == [(0, "sr", "sent")]


def test_refusals_of_a_kind_are_told_from_the_others(head_series: Callable[..., Any]) -> None:
    path = head_series().paths[0]
    mr = "1.2.840.10008.5.1.4.1.1.4"
    for status in (0x0122, 0xA700, 0xA900, 0xC000, 0x0110, 0x0124, 0x0213):
        entity = AE("PACS")
        entity.add_supported_context(mr)
        server: Any = entity.start_server(
            (LOCAL, 0),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, lambda _, answer=status: answer)],
        )
        address = Address(LOCAL, server.server_address[1], "PACS", "SECONDREAD", 5.0)
        with pytest.raises((PeerRefusedError, PeerUnreachableError)) as raised:
            send_one(path, address)
        server.shutdown()
        assert (raised.type is KindRefusedError) == is_refusal_of_kind(status)


def test_results_go_back_to_whoever_sent_the_study_in_the_form_that_is_wanted(
    house: House,
) -> None:
    back = Destination(name="pacs", way=Way.SENDER, form=Form(fallback=()))
    house.place = replace(house.place, destinations={"pacs": back})
    assert Write(house.place).step()
    with house.place.ledger.read() as view:
        rows = [(row.destination, row.level, row.kind) for row in view.outbox.of_job(1)]
    assert rows == [("pacs/ct", 0, "seg"), ("pacs/ct", 0, "sr")]
