"""C-FIND, C-MOVE and C-GET as SCU against real archives: DCMTK's dcmqrscp, and Orthanc."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from deploy.demo import pacs as demo_pacs
from secondread.app.intake import run_intake
from secondread.config.settings import Settings
from secondread.delivery.address import Address
from secondread.delivery.arrival import Received
from secondread.delivery.find_scu import (
    count_objects,
    find_instances,
    find_series,
    find_studies,
    read_back_identity,
)
from secondread.delivery.get_scu import GetOrder, get
from secondread.delivery.move_scu import MoveOrder, move
from secondread.delivery.object_file import Kind
from secondread.delivery.query_status import Progress
from secondread.delivery.store_scu import send_files
from secondread.delivery.study_keys import StudyKeys
from secondread.delivery.wanted import Wanted
from secondread.domain.network import Peer
from secondread.errors import (
    CannotUnderstandError,
    DeliveryError,
    OutOfResourcesError,
    PeerRefusedError,
)
from secondread.store import Ledger, Spool
from tests.echo_peers import storescp
from tests.query_peers import EXPLICIT, Inbox, data_set, dcmqrscp, wait_for

MR, RLE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.5"

Make = Callable[..., Any]


@dataclass(frozen=True)
class Place:
    """An archive, and the folder of a storage SCP that it knows as ``SECONDREAD``."""

    address: Address
    inbox: Path
    held: Callable[[], dict[str, bytes]]
    """The data sets that it holds, as it holds them."""
    is_orthanc: bool = False


class MovingOrthanc(demo_pacs.OrthancPacs):
    """An Orthanc that knows at which port the node listens."""

    destination_port = 0

    def _configuration(self, folder: Path, callers: tuple[str, ...]) -> dict[str, Any]:
        found = super()._configuration(folder, callers)
        found["DicomModalities"] = {
            title: [title, demo_pacs.LOOPBACK, self.destination_port] for title in callers
        }
        return found

    def data_sets(self, folder: Path) -> dict[str, bytes]:
        return dict(data_set(path) for path in self.export(folder))


@pytest.fixture(scope="module", params=["dcmqrscp", "orthanc"])
def place(
    request: pytest.FixtureRequest,
    dcmtk: Callable[[str], str],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """A real archive, one after the other."""
    folder = tmp_path_factory.mktemp(request.param)
    inbox = folder / "inbox"
    inbox.mkdir()
    with storescp(dcmtk("storescp"), inbox, "+B", "+uf") as port:
        if request.param == "dcmqrscp":
            with dcmqrscp(dcmtk("dcmqrscp"), folder, free_port(), {"SECONDREAD": port}) as archive:
                yield Place(archive.address(), inbox, archive.data_sets)
            return
        program = demo_pacs.orthanc_program()
        if program is None:
            pytest.skip("no Orthanc: install the package orthanc")
        MovingOrthanc.destination_port = port
        server = MovingOrthanc(program, folder / "orthanc", ("SECONDREAD",))
        exports = iter(range(1000))
        yield Place(
            Address(server.host, server.port, server.ae_title, "SECONDREAD"),
            inbox,
            lambda: server.data_sets(folder / f"export{next(exports)}"),
            is_orthanc=True,
        )
        server.close()


@dataclass(frozen=True)
class Stored:
    """A series that was put into an archive."""

    study: str
    series: str
    uids: tuple[str, ...]
    paths: tuple[Path, ...]


def put(place: Place, series: Any) -> Stored:
    assert all(result.stored for result in send_files(series.paths, place.address))
    headers = [dcmread(path, stop_before_pixels=True) for path in series.paths]
    return Stored(
        str(headers[0].StudyInstanceUID),
        str(headers[0].SeriesInstanceUID),
        tuple(str(header.SOPInstanceUID) for header in headers),
        tuple(series.paths),
    )


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "landing")


def test_find_tells_what_is_there_at_each_level(place: Place, head_series: Make) -> None:
    one = put(place, head_series(seed="levels 1", size=(5, 16, 16)))
    two = put(place, head_series(seed="levels 2", study="levels 1", size=(3, 16, 16)))
    assert one.study == two.study
    assert find_instances(place.address, one.study, one.series) == set(one.uids)
    assert find_instances(place.address, one.study, two.series) == set(two.uids)
    assert find_instances(place.address, one.study, "1.2.3.4") == frozenset()
    assert find_instances(place.address, "1.2.3.5", one.series) == frozenset()
    assert count_objects(one.study, place.address) == 8
    found = find_series(place.address, one.study)
    assert {series.series_instance_uid for series in found} == {one.series, two.series}
    assert {series.modality for series in found} == {"MR"}


def test_find_knows_a_patients_studies_and_nobody_elses(place: Place, head_series: Make) -> None:
    early = {"patient_id": "P-1001", "study_date": "20190405", "body_part": "BRAIN"}
    late = {"patient_id": "P-1001", "study_date": "20230102", "body_part": "KNEE"}
    other = {"patient_id": "P-10010", "study_date": "20230102"}
    one = put(place, head_series(seed="prior 1", size=(2, 8, 8), **early))
    two = put(place, head_series(seed="prior 2", size=(2, 8, 8), **late))
    put(place, head_series(seed="prior 3", size=(2, 8, 8), **other))

    def found(**keys: Any) -> list[str]:
        studies = find_studies(place.address, StudyKeys("P-1001", **keys))
        return [study.study_instance_uid for study in studies]

    assert found() == [two.study, one.study]
    assert found(latest=dt.date(2020, 1, 1)) == [one.study]
    assert found(earliest=dt.date(2020, 1, 1)) == [two.study]
    assert found(earliest=dt.date(2023, 1, 2), latest=dt.date(2023, 1, 2)) == [two.study]
    assert found(modality="MR") == [two.study, one.study]
    assert found(modality="CT") == []
    study = find_studies(place.address, StudyKeys("P-1001", body_part="KNEE"))[0]
    assert (study.study_instance_uid, study.study_date) == (two.study, dt.date(2023, 1, 2))
    assert study.modalities == ("MR",)
    if place.is_orthanc:
        assert found(body_part="brain", modality="MR") == [one.study]
        assert study.body_parts == ("KNEE",)
    else:
        # dcmqrscp tells no body part, so that each study may be meant.
        assert found(body_part="brain", modality="MR") == [two.study, one.study]
        assert study.body_parts == ()


def test_identity_that_an_archive_changed_is_named_and_never_quoted(
    place: Place, head_series: Make
) -> None:
    made = head_series(seed="identity", size=(2, 8, 8), accession_number="A77", patient_id="P-77")
    for path in made.paths:
        with_name = dcmread(path)
        with_name.SpecificCharacterSet = "ISO_IR 100"
        with_name.PatientName = "Prüfung^Änne^^"
        with_name.save_as(path)
    one = put(place, made)
    source = dcmread(one.paths[0], stop_before_pixels=True)
    assert read_back_identity(place.address, source) == ()
    source.PatientName = "Prüfung^Anna"
    source.AccessionNumber = "A78"
    assert set(read_back_identity(place.address, source)) == {"PatientName", "AccessionNumber"}
    source.StudyInstanceUID = "1.2.3.99"
    assert read_back_identity(place.address, source) == ("StudyInstanceUID",)


def test_get_brings_a_study_bit_for_bit(place: Place, head_series: Make, inbox: Inbox) -> None:
    one = put(place, head_series(seed="get 1", size=(6, 16, 16)))
    two = put(place, head_series(seed="get 2", study="get 1", size=(3, 16, 16)))
    told: list[Progress] = []
    order = GetOrder(Wanted(one.study), inbox.landing, tell=told.append)
    result = get(place.address, order, inbox)
    assert result.is_complete
    assert (result.received, result.refused) == (9, 0)
    held = place.held()
    assert inbox.kept == {uid: held[uid] for uid in (*one.uids, *two.uids)}
    assert "has sent 9 objects" in result.sentence
    assert all(progress.failed in (0, None) for progress in told)
    assert list(inbox.landing.folder.iterdir()) == []


def test_get_brings_compressed_objects_as_they_are(
    place: Place, head_series: Make, inbox: Inbox
) -> None:
    made = head_series(seed="get compressed", size=(2, 32, 32))
    for path in made.paths:
        image = dcmread(path)
        image.compress(RLE)
        image.save_as(path)
    one = put(place, made)
    order = GetOrder(Wanted(one.study), inbox.landing, (Kind(MR, RLE),))
    assert get(place.address, order, inbox).received == 2
    assert {received.kind for received in inbox.received} == {Kind(MR, RLE)}
    held = place.held()
    assert inbox.kept == {uid: held[uid] for uid in one.uids}


def test_get_in_what_the_archive_does_not_take_is_a_sentence(
    place: Place, head_series: Make, inbox: Inbox
) -> None:
    one = put(place, head_series(seed="get no kind", size=(2, 8, 8)))
    order = GetOrder(Wanted(one.study), inbox.landing, (Kind("1.2.3.4.5", EXPLICIT),))
    with pytest.raises(DeliveryError, match="takes none of the kinds|C-GET with 0x"):
        get(place.address, order, inbox)


def test_get_brings_a_series_or_objects_alone(
    place: Place, head_series: Make, inbox: Inbox
) -> None:
    one = put(place, head_series(seed="get part 1", size=(4, 16, 16)))
    put(place, head_series(seed="get part 2", study="get part 1", size=(3, 16, 16)))
    series = Wanted(one.study, one.series)
    assert get(place.address, GetOrder(series, inbox.landing), inbox).received == 4
    assert set(inbox.kept) == set(one.uids)
    inbox.kept.clear()
    objects = Wanted(one.study, one.series, one.uids[1:3])
    assert get(place.address, GetOrder(objects, inbox.landing), inbox).received == 2
    assert set(inbox.kept) == set(one.uids[1:3])


def test_get_of_what_is_not_there_brings_nothing(place: Place, inbox: Inbox) -> None:
    order = GetOrder(Wanted("1.2.3.77"), inbox.landing)
    if place.is_orthanc:
        with pytest.raises(PeerRefusedError, match="0xC000: .* has not got what was asked for"):
            get(place.address, order, inbox)
    else:
        result = get(place.address, order, inbox)
        assert result.received == 0
        assert "nothing that matches" in result.sentence
    assert inbox.kept == {}


def test_get_tells_the_archive_what_was_not_taken(
    place: Place, head_series: Make, inbox: Inbox
) -> None:
    one = put(place, head_series(seed="not taken", size=(4, 16, 16)))

    def choose(received: Received) -> None:
        if received.sop_instance_uid == one.uids[1]:
            raise CannotUnderstandError("Not this one.")
        inbox(received)

    result = get(place.address, GetOrder(Wanted(one.study), inbox.landing), choose)
    assert (result.received, result.refused) == (3, 1)
    assert not result.is_complete
    assert result.progress.failed == 1
    assert "3 objects and could not send 1" in result.sentence


def test_get_ends_where_the_receiver_has_no_room(
    place: Place, head_series: Make, inbox: Inbox
) -> None:
    one = put(place, head_series(seed="no room", size=(4, 16, 16)))

    def full(_: Received) -> None:
        raise OutOfResourcesError("There is no room.")

    with pytest.raises(OutOfResourcesError, match="no room"):
        get(place.address, GetOrder(Wanted(one.study), inbox.landing), full)
    assert list(inbox.landing.folder.iterdir()) == []
    assert get(place.address, GetOrder(Wanted(one.study), inbox.landing), inbox).received == 4


def test_move_sends_a_study_to_the_node_bit_for_bit(place: Place, head_series: Make) -> None:
    one = put(place, head_series(seed="move 1", size=(5, 16, 16)))
    two = put(place, head_series(seed="move 2", study="move 1", size=(2, 16, 16)))
    told: list[Progress] = []
    before = set(place.inbox.iterdir())
    result = move(place.address, MoveOrder(Wanted(one.study), "SECONDREAD", told.append))
    assert result.is_complete
    assert result.progress.completed == 7
    assert "has sent 7 objects" in result.sentence

    def came() -> dict[str, bytes]:
        new = set(place.inbox.iterdir()) - before
        return dict(data_set(path) for path in new if path.suffix != ".log")

    wait_for(lambda: len(came()) == 7)
    held = place.held()
    assert came() == {uid: held[uid] for uid in (*one.uids, *two.uids)}
    assert [progress.failed or 0 for progress in told] == [0] * len(told)


def test_move_comes_through_intake_as_from_any_peer(
    dcmtk: Callable[[str], str],
    free_port: Callable[[], int],
    head_series: Make,
    tmp_path: Path,
) -> None:
    port = free_port()
    program = dcmtk("dcmqrscp")
    with dcmqrscp(program, tmp_path / "archive", free_port(), {"SECONDREAD": port}) as archive:
        place = Place(archive.address(), tmp_path, archive.data_sets)
        one = put(place, head_series(seed="into intake", size=(4, 16, 16)))
        order = MoveOrder(Wanted(one.study), "SECONDREAD")
        with pytest.raises(DeliveryError, match="0xA702|could not send") as caught:
            # Nobody listens yet.
            result = move(place.address, order)
            raise DeliveryError(result.sentence)
        assert one.study not in str(caught.value)
        with intake(tmp_path / "node", port) as (ledger, spool):
            assert move(place.address, order).is_complete
            wait_for(lambda: len(stored(ledger, spool)) == 4)
            assert stored(ledger, spool) == archive.data_sets()


@contextmanager
def intake(data_dir: Path, port: int) -> Iterator[tuple[Ledger, Spool]]:
    """The node's own intake, which knows the archive as a peer."""
    data_dir.mkdir()
    peers = (Peer("pacs", "PACS", ("127.0.0.0/8",), 2.0),)
    settings = Settings(
        data_dir=data_dir, host="127.0.0.1", port=port, minimum_free_bytes=0, peers=peers
    )
    ledger, spool = Ledger.open(data_dir), Spool(data_dir)
    spool.prepare()
    stop = threading.Event()
    thread = threading.Thread(target=run_intake, args=(settings, ledger, spool, stop))
    thread.start()
    wait_for(lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
    try:
        yield ledger, spool
    finally:
        stop.set()
        thread.join()
        ledger.close()


def stored(ledger: Ledger, spool: Spool) -> dict[str, bytes]:
    """What intake has."""
    with ledger.read() as view:
        if not view.instances.count():
            return {}
    return dict(data_set(path) for path in spool.objects.rglob("*") if path.is_file())


def test_move_of_objects_sends_these_alone(place: Place, head_series: Make) -> None:
    one = put(place, head_series(seed="move part", size=(5, 16, 16)))
    order = MoveOrder(Wanted(one.study, one.series, one.uids[:2]), "SECONDREAD")
    assert move(place.address, order).progress.completed == 2


def test_move_to_a_title_that_is_not_entered_says_what_to_enter(
    place: Place, head_series: Make
) -> None:
    one = put(place, head_series(seed="move nowhere", size=(2, 16, 16)))
    with pytest.raises(PeerRefusedError, match="does not know the move destination") as caught:
        move(place.address, MoveOrder(Wanted(one.study), "STRANGER"))
    assert "enter 'STRANGER' there" in str(caught.value)
    assert ("0xC000" if place.is_orthanc else "0xA801") in str(caught.value)
    assert one.study not in str(caught.value)
